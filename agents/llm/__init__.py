"""Asking language models: one question, one typed answer or a named failure, and the transcript of all of them."""
