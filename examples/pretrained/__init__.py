"""A network with published weights: a file of weights, or an ONNX file of features."""
