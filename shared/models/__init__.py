"""Everything learned, each behind one small class. ONNX Runtime, tokenizers and numpy only."""
