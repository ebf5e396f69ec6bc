from transformers import LlamaConfig


class InheritedConfig(LlamaConfig):
    model_type = "tiny_inherited"
