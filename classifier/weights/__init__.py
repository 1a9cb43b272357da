"""Weights that others have trained: files, names of tensors, and preprocessing.

  weights = opening.open_weights("hf:timm/resnetrs50.tf_in1k")
  network = build_network(
      weights.model, image_size=weights.image.size, num_classes=1000
  )
  published.assign(network, weights)

`opening` lists the forms of a source.
"""
