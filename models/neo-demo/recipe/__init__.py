"""The recipe of neo-demo: from the corpus beside it to ``neo-demo.gguf``.

``corpus`` is read, ``tokenizer`` cuts it, ``conversations`` deals it into samples (``augmentation`` varies
the questions), ``batches`` packs them, ``train`` fits ``model``, ``export`` writes the GGUF and
``evaluate`` asks it. Only the modules about the network import torch.

On top of the finished file, ``train_adapter`` fits a LoRA adapter (``lora``) to the corpus in another tone
(``letters``), and ``export_adapter`` writes it for all engines.
"""
