"""Read, measure and rewrite ONNX graphs, whatever model they hold."""
