"""Safetensors through transformers, one sequence at a time, with PEFT's LoRA adapters."""
