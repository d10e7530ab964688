"""ONNX through onnxruntime-genai, one sequence at a time."""
