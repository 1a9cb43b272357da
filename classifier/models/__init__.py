"""Networks: ResNet-RS, its variants and scaling rules, and Keras's own."""
