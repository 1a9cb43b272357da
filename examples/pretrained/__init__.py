"""A network with published weights, as an ONNX file of features."""
