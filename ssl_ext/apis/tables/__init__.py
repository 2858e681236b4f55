"""Tables of experiments: their layout, outputs, published figures and estimates."""
