"""Sources of features: frozen networks from images to embeddings, for probes.

  source = opening.open_features("runs/photos/teacher", ["image.size=160"])
  extractor = source.load()
  embeddings = extractor(extractor.preprocess(encoded))    # float32 [B,D]
  source.export(head, directory, class_names=..., evaluation=...)

`opening` lists the forms of a source, `source` says what every source can do.
"""
