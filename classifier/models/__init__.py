"""Networks: ResNet-RS, its variants and scaling rules; EfficientNet-Lite; Keras's."""
