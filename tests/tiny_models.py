"""Tiny models with random weights, and their tokenizer: for shapes, geometry and bookkeeping only."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    EfficientNetConfig,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetSqueezeExciteLayer

N_LAYERS = 3
DIM = 32
VOCAB = 400
SENTENCES = [
    "A small red fire truck stands in front of the old brick house.",
    "Two dogs and a cat sleep under the kitchen table.",
    "The giraffe's neck is longer than the acacia tree is tall.",
    "Où est la bibliothèque ? 猫が好きです 🐈",
]
# Like SmolLM2's, and with typed content parts as vision-language models have them.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer(bos=True, named=None, more=()):
    """A byte-level BPE tokenizer of about `VOCAB` tokens; `bos` makes it put <s> in front.

    `named` are special tokens that a processor asks the tokenizer for by name, `more` are others.
    """
    named = {"image_token": "<image>", **(named or {})}
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = list(dict.fromkeys(["<s>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>", *named.values(), *more]))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB + len(specials) - 5,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        extra_special_tokens=named,
    )


def llama_config(**overrides):
    settings = dict(
        hidden_size=DIM,
        intermediate_size=48,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCAB,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=3,
        pad_token_id=1,
    )
    return LlamaConfig(**{**settings, **overrides})


def save_text_model(folder: Path, seed=0, bos=True, **overrides) -> Path:
    torch.manual_seed(seed)
    LlamaForCausalLM(llama_config(**overrides)).save_pretrained(folder)
    tiny_tokenizer(bos).save_pretrained(folder)
    return folder


def fastvlm_config(**overrides):
    """An EfficientNet tower with a total stride of 32, as the projector's input."""
    vision = EfficientNetConfig(
        width_coefficient=0.05,
        depth_coefficient=0.1,
        hidden_act="relu6",
        hidden_dim=64,
        image_size=96,
        dropout_rate=0.0,
        drop_connect_rate=0.0,
    )
    vision.hidden_size = 64
    return FastVlmConfig(vision_config=vision, text_config=llama_config(), image_token_index=4, **overrides)


def save_fastvlm(folder: Path, seed=0, size=None, chat_template=CHAT_TEMPLATE, image_processor=None) -> Path:
    """A FastVLM directory; `size` is the pixels that images are resized to (96 x 96: a 3 x 3 grid)."""
    torch.manual_seed(seed)
    model = FastVlmForConditionalGeneration(fastvlm_config())
    _wake(model.model)
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=image_processor or EfficientNetImageProcessorPil(size=size or {"height": 96, "width": 96}),
        tokenizer=tiny_tokenizer(),
        patch_size=32,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=chat_template,
    )
    processor.save_pretrained(folder)
    return folder


def save_llava(folder: Path, seed=0, chat_template=None, image_processor=None, **vision) -> Path:
    """A LLaVA directory with a CLIP tower: 32 px, patches of 8, resized by the shortest edge and centre-cropped."""
    torch.manual_seed(seed)
    settings = dict(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=32,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**{**settings, **vision}), text_config=llama_config(), image_token_index=4
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=image_processor
        or CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer=tiny_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template,
    )
    processor.save_pretrained(folder)
    return folder


def _wake(model):
    """Give a random vision side signals of a useful size, each token from its own patch alone.

    As transformers initialises it, the tower's output fades to nothing, and a random convolution
    spreads what little there is over the whole picture. So: norms that keep the scale, kernels that
    look at the 2 x 2 (or the 1) pixels under their output, and no global gates.
    """
    for module in model.vision_tower.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            size, stride = module.kernel_size[0], module.stride[0]
            if size > 1:
                first = size // 2 - 1 if stride == 2 else size // 2
                kept = module.weight[..., first : first + stride, first : first + stride].detach().clone()
                torch.nn.init.zeros_(module.weight)
                module.weight.data[..., first : first + stride, first : first + stride] = 3 * kept
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
        elif isinstance(module, EfficientNetSqueezeExciteLayer):
            torch.nn.init.constant_(module.expand.bias, 50.0)
    for linear in (model.multi_modal_projector.linear_1, model.multi_modal_projector.linear_2):
        torch.nn.init.kaiming_normal_(linear.weight)
