"""Networks: ResNet-RS with its variants and scaling rules, and `keras.applications`."""
