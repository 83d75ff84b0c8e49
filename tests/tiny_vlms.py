"""One tiny VLM per family, random weights: the real transformers classes, configurations and processors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_connectors import save_connector
from tiny_models import N_LAYERS, save_fastvlm, save_llava, tiny_tokenizer
from transformers import (
    AyaVisionConfig,
    AyaVisionForConditionalGeneration,
    AyaVisionProcessor,
    CLIPVisionConfig,
    Cohere2Config,
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GemmaConfig,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessorPil,
    Glm4vProcessor,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    SmolVLMProcessor,
)

from lensbank.models.files.processors import NoVideo, images_only

DIM = 32
TEXT = dict(
    hidden_size=DIM,
    intermediate_size=48,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    max_position_embeddings=8192,
    bos_token_id=0,
    eos_token_id=3,
    pad_token_id=1,
)


@dataclass(frozen=True)
class TinyVlm:
    """How to make one, and what is known about it.

    Attributes:
        save: writes the model's directory.
        image: the token that stands for an image in a prompt.
        causal: whether a visual token's state is independent of what follows the image.
        adds_to: gives the embedding that the connector's output is added to; else it replaces it.
        several: whether several images of one prompt are seen as each is alone.
        attention: whether the vision tower has any, so that its kind can be chosen.
        kinds: of attention that its language model has.
        deepstack: after how many of its first blocks visual features are added again.
        torchvision: whether transformers has its processor with torchvision only.
        one_token: whether transformers' model can see an image that is one visual token.
    """

    save: Callable[[Path], Path]
    image: str = "<image>"
    causal: bool = True
    adds_to: Callable[[Any], torch.Tensor] | None = None
    several: bool = True
    attention: bool = True
    kinds: tuple[str, ...] = ("eager", "sdpa")
    deepstack: int = 0
    torchvision: bool = False
    one_token: bool = True


def chat_template(image):
    """Like Qwen2-VL's, with typed content parts."""
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def save(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def qwen_tokenizer():
    return tiny_tokenizer(
        bos=False,
        named={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
        more=["<|vision_start|>", "<|vision_end|>"],
    )


def qwen_settings(tokenizer, **vision):
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in
           [("image_token_id", "<|image_pad|>"), ("video_token_id", "<|video_pad|>"),
            ("vision_start_token_id", "<|vision_start|>"), ("vision_end_token_id", "<|vision_end|>")]}  # fmt: skip
    text = {**TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}
    return dict(text_config=text, vision_config=dict(depth=2, num_heads=2, patch_size=8, **vision), **ids)


def qwen_processor(kind, tokenizer):
    images = Qwen2VLImageProcessorPil(patch_size=8, size={"shortest_edge": 16 * 16, "longest_edge": 16 * 16 * 40})
    template = chat_template("<|vision_start|><|image_pad|><|vision_end|>")
    return images_only(kind)(
        image_processor=images, tokenizer=tokenizer, video_processor=NoVideo(), chat_template=template
    )


def save_qwen2_vl(folder):
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    config = Qwen2VLConfig(**qwen_settings(tokenizer, embed_dim=32, hidden_size=DIM, mlp_ratio=2))
    return save(folder, Qwen2VLForConditionalGeneration(config), qwen_processor(Qwen2VLProcessor, tokenizer))


def save_qwen2_5_vl(folder):
    """Attention in windows of 4 x 4 patches in the first block, over all in the second."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    vision = dict(hidden_size=32, intermediate_size=48, out_hidden_size=DIM, window_size=32, fullatt_block_indexes=[1])
    config = Qwen2_5_VLConfig(**qwen_settings(tokenizer, **vision))
    return save(folder, Qwen2_5_VLForConditionalGeneration(config), qwen_processor(Qwen2_5_VLProcessor, tokenizer))


def save_qwen3_vl(folder):
    """DeepStack: the features after the tower's first block enter again after the first block."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    vision = dict(
        hidden_size=32, intermediate_size=48, out_hidden_size=DIM, deepstack_visual_indexes=[0],
        num_position_embeddings=64,
    )  # fmt: skip
    settings = qwen_settings(tokenizer, **vision)
    settings["text_config"]["head_dim"] = 8
    config = Qwen3VLConfig(**settings)
    return save(folder, Qwen3VLForConditionalGeneration(config), qwen_processor(Qwen3VLProcessor, tokenizer))


VIT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]


def save_llava_next(folder):
    """A CLIP tower of 32 px and patches of 8; up to four tiles."""
    torch.manual_seed(0)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VIT, image_size=32, patch_size=8, projection_dim=32),
        text_config=LlamaConfig(**TEXT),
        image_token_index=4,
        image_grid_pinpoints=PINPOINTS,
    )
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=PINPOINTS
        ),
        tokenizer=tiny_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>"),
    )
    return save(folder, LlavaNextForConditionalGeneration(config), processor)


def save_llava_onevision(folder):
    """A SigLIP tower whose patches of 8 leave 4 of 36 px out; a large grid is made coarser (anyres_max_2)."""
    torch.manual_seed(0)
    pinpoints = [[36 * rows, 36 * cols] for rows in range(1, 4) for cols in range(1, 4)]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VIT, image_size=36, patch_size=8, vision_use_head=False),
        text_config=Qwen2Config(**TEXT),
        image_token_index=4,
        video_token_index=5,
        image_grid_pinpoints=pinpoints,
        vision_aspect_ratio="anyres_max_2",
        vision_feature_layer=-1,
    )
    processor = images_only(LlavaOnevisionProcessor)(
        image_processor=LlavaOnevisionImageProcessorPil(
            size={"height": 36, "width": 36}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=tiny_tokenizer(bos=False, named={"video_token": "<video>"}),
        video_processor=NoVideo(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
        vision_aspect_ratio="anyres_max_2",
    )
    return save(folder, LlavaOnevisionForConditionalGeneration(config), processor)


def idefics3_tokens():
    tiles = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
    return dict(bos=True, more=["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles])


IDEFICS3_IMAGES = dict(size={"longest_edge": 128}, max_image_size={"longest_edge": 32})


def save_idefics3(folder):
    """Tiles of 32 px, patches of 4, 2 x 2 of them shuffled into one token."""
    torch.manual_seed(0)
    config = Idefics3Config(
        vision_config=dict(**VIT, image_size=32, patch_size=4),
        text_config=LlamaConfig(**TEXT),
        image_token_id=4,
        scale_factor=2,
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(**IDEFICS3_IMAGES),
        tokenizer=tiny_tokenizer(**idefics3_tokens()),
        image_seq_len=16,
        chat_template=chat_template("<image>"),
    )
    return save(folder, Idefics3ForConditionalGeneration(config), processor)


def save_smolvlm(folder):
    torch.manual_seed(0)
    config = SmolVLMConfig(
        vision_config=dict(**VIT, image_size=32, patch_size=4),
        text_config=LlamaConfig(**TEXT),
        image_token_id=4,
        scale_factor=2,
    )
    processor = images_only(SmolVLMProcessor)(
        SmolVLMImageProcessorPil(**IDEFICS3_IMAGES),
        tiny_tokenizer(**idefics3_tokens()),
        video_processor=NoVideo(),
        image_seq_len=16,
        chat_template=chat_template("<image>"),
    )
    return save(folder, SmolVLMForConditionalGeneration(config), processor)


def save_gemma3(folder):
    """64 px in patches of 8, pooled to 4 x 4 tokens; one block with a sliding window."""
    torch.manual_seed(0)
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = tiny_tokenizer(named=named)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in named.items()}
    text = {**TEXT, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8, "layer_types":
            ["sliding_attention", "full_attention", "full_attention"]}  # fmt: skip
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(**VIT, image_size=64, patch_size=8, vision_use_head=False),
        text_config=text,
        mm_tokens_per_image=16,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
    )
    model = Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)  # zeros as it is made
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 64, "width": 64}),
        tokenizer=tokenizer,
        chat_template=chat_template("<start_of_image>"),
        image_seq_length=16,
    )
    return save(folder, model, processor)


def save_paligemma(folder, text=GemmaConfig, **settings):
    torch.manual_seed(0)
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VIT, image_size=32, patch_size=8, vision_use_head=False, projection_dim=DIM),
        text_config=text(**{**TEXT, "vocab_size": 1600, "head_dim": 8, **settings}),
        image_token_index=4,
        projection_dim=DIM,
    )
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(image_processor=images, tokenizer=tiny_tokenizer(bos=False))
    return save(folder, PaliGemmaForConditionalGeneration(config), processor)


def save_paligemma2(folder):
    """Gemma 2 inside: soft-capped attention and, in its own class, soft-capped logits."""
    return save_paligemma(folder, Gemma2Config, sliding_window=64, final_logit_softcapping=0.01)


def save_internvl(folder):
    """Tiles of 32 px, patches of 4, 2 x 2 of them shuffled into one token; up to six tiles."""
    torch.manual_seed(0)
    named = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tokenizer = tiny_tokenizer(bos=False, named=named)
    config = InternVLConfig(
        vision_config=dict(**VIT, image_size=[32, 32], patch_size=[4, 4]),
        text_config=Qwen2Config(**TEXT),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=16,
    )
    processor = images_only(InternVLProcessor)(
        image_processor=GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=6),
        tokenizer=tokenizer,
        video_processor=NoVideo(),
        image_seq_length=16,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )
    return save(folder, InternVLForConditionalGeneration(config), processor)


def save_aya_vision(folder):
    """Tiles of 32 px, patches of 4, 2 x 2 of them shuffled into one token; Cohere 2 inside, logits not scaled."""
    torch.manual_seed(0)
    markers = [
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_PATCH|>",
        "TILE_GLOBAL",
        *(f"TILE_{n}" for n in range(1, 7)),
    ]
    tokenizer = tiny_tokenizer(bos=False, more=markers)
    config = AyaVisionConfig(
        vision_config=SiglipVisionConfig(**VIT, image_size=32, patch_size=4, vision_use_head=False),
        text_config=Cohere2Config(**TEXT, head_dim=8, sliding_window=64, logit_scale=0.25),
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
    )
    processor = AyaVisionProcessor(
        image_processor=GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=6),
        tokenizer=tokenizer,
        patch_size=4,
        img_size=32,
        downsample_factor=2,
        chat_template=chat_template("<image>"),
    )
    model = AyaVisionForConditionalGeneration(config)
    # As it is made, a grey patch is next to nothing, and the connector's norm makes much of what attention adds to it.
    embeddings = model.model.vision_tower.embeddings
    torch.nn.init.normal_(embeddings.position_embedding.weight, std=0.5)
    torch.nn.init.normal_(embeddings.patch_embedding.weight, std=0.2)
    return save(folder, model, processor)


def save_glm4v(folder, kinds=(Glm4vConfig, Glm4vForConditionalGeneration, Glm4vProcessor, Glm4vImageProcessorPil)):
    """Patches of 8, 2 x 2 of them merged by a convolution; the position table is interpolated."""
    torch.manual_seed(0)
    configuration, model, processor, images = kinds
    named = {"image_token": "<|image|>", "video_token": "<|video|>"}
    layout = [f"<|{end}_of_{kind}|>" for kind in ("image", "video") for end in ("begin", "end")]
    tokenizer = tiny_tokenizer(bos=False, named=named, more=layout)
    ids = dict(zip(
        ("image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id", "video_start_token_id",
         "video_end_token_id"),
        tokenizer.convert_tokens_to_ids([*named.values(), *layout]),
        strict=True,
    ))  # fmt: skip
    config = configuration(
        text_config={**TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2],
                                                 "partial_rotary_factor": 1.0}},
        vision_config=dict(depth=2, hidden_size=32, num_heads=4, image_size=64, patch_size=8, out_hidden_size=DIM,
                           intermediate_size=48),
        **ids,
    )  # fmt: skip
    size = {"shortest_edge": 16 * 16 * 2, "longest_edge": 16 * 16 * 2 * 40}
    seen = images_only(processor)(
        image_processor=images(patch_size=8, size=size),
        tokenizer=tokenizer,
        video_processor=NoVideo(),
        chat_template=chat_template("<|begin_of_image|><|image|><|end_of_image|>"),
    )
    return save(folder, model(config), seen)


def save_mistral3(folder):
    """Patches of 8, 2 x 2 of them merged; any size up to 96 px."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig

    torch.manual_seed(0)
    processor = pixtral_processor(spatial_merge_size=2)
    config = Mistral3Config(
        vision_config=dict(**VIT, model_type="pixtral", image_size=96, patch_size=8, head_dim=8),
        text_config=MistralConfig(**TEXT, sliding_window=None),
        image_token_index=processor.image_token_id,
        spatial_merge_size=2,
    )
    return save(folder, Mistral3ForConditionalGeneration(config), processor)


def save_pixtral(folder):
    """LLaVA's classes around Pixtral's tower, as mistral-community/pixtral-12b has them."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, PixtralVisionConfig

    torch.manual_seed(0)
    processor = pixtral_processor(spatial_merge_size=1)
    config = LlavaConfig(
        vision_config=PixtralVisionConfig(**VIT, image_size=96, patch_size=8, head_dim=8),
        text_config=LlamaConfig(**TEXT),
        image_token_index=processor.image_token_id,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    return save(folder, LlavaForConditionalGeneration(config), processor)


def pixtral_processor(spatial_merge_size):
    from transformers import PixtralImageProcessorPil, PixtralProcessor

    return PixtralProcessor(
        image_processor=PixtralImageProcessorPil(size={"longest_edge": 96}, patch_size={"height": 8, "width": 8}),
        tokenizer=tiny_tokenizer(named={"image_token": "[IMG]"}, more=["[IMG_BREAK]", "[IMG_END]"]),
        patch_size=8,
        spatial_merge_size=spatial_merge_size,
        image_token="[IMG]",
        chat_template=chat_template("[IMG]"),
    )


def save_molmo2(folder):
    """Tiles of 56 px (7 patches of 8, two of them margin on either side), patches pooled 2 x 2."""
    from transformers import Molmo2Config, Molmo2ForConditionalGeneration, Molmo2ImageProcessor, Molmo2Processor

    torch.manual_seed(0)
    layout = ["<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>", "<im_end>",
              "<frame_end>", "<im_low>"]  # fmt: skip
    tokenizer = tiny_tokenizer(named={"image_token": "<|image|>", "video_token": "<|video|>"}, more=layout)
    config = Molmo2Config(
        text_config={**TEXT, "additional_vocab_size": 16, "head_dim": 8},
        vision_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            head_dim=8, patch_size=8, image_size=[56, 56], num_position_embeddings=49,
        ),
        adapter_config=dict(
            vision_feature_layer=[-1], hidden_size=32, intermediate_size=48, text_hidden_size=DIM,
            num_attention_heads=4, num_key_value_heads=4, head_dim=8,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<im_patch>"),
    )  # fmt: skip
    processor = images_only(Molmo2Processor)(
        image_processor=Molmo2ImageProcessor(
            size={"height": 56, "width": 56}, patch_size=8, overlap_margins=[1, 1], max_crops=4
        ),
        tokenizer=tokenizer,
        video_processor=NoVideo(),
        chat_template=chat_template("<|image|>"),
    )
    model = Molmo2ForConditionalGeneration(config)
    for parameter in model.model.multi_modal_projector.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # as it is made, its output is lost beside the embedding
    return save(folder, model, processor)


def molmo2_patch(loaded):
    return loaded.lm.embed_tokens(torch.tensor(loaded.tokenizer.convert_tokens_to_ids("<im_patch>")))


def connector_patch(loaded):
    return loaded.model.embed(torch.tensor(loaded.model.config.image_token_id))


TINY = {
    "fast_vlm": TinyVlm(lambda folder: save_fastvlm(folder, size={"height": 96, "width": 160}), attention=False),
    "llava": TinyVlm(save_llava),
    "qwen2_vl": TinyVlm(save_qwen2_vl, "<|image_pad|>"),
    "qwen2_5_vl": TinyVlm(save_qwen2_5_vl, "<|image_pad|>"),
    "llava_next": TinyVlm(save_llava_next),
    "llava_onevision": TinyVlm(save_llava_onevision, several=False),
    "idefics3": TinyVlm(save_idefics3),
    "smolvlm": TinyVlm(save_smolvlm),
    "qwen3_vl": TinyVlm(save_qwen3_vl, "<|image_pad|>", deepstack=1),
    "gemma3": TinyVlm(save_gemma3, "<start_of_image>"),
    "paligemma": TinyVlm(save_paligemma, causal=False),
    "paligemma2": TinyVlm(save_paligemma2, causal=False, kinds=("eager",)),
    "internvl": TinyVlm(save_internvl, "<IMG_CONTEXT>"),
    "aya_vision": TinyVlm(save_aya_vision),
    "glm4v": TinyVlm(save_glm4v, "<|image|>"),
    "mistral3": TinyVlm(save_mistral3, "[IMG]", torchvision=True, one_token=False),
    "pixtral": TinyVlm(save_pixtral, "[IMG]", torchvision=True),
    "molmo2": TinyVlm(save_molmo2, "<|image|>", torchvision=True, adds_to=molmo2_patch),
    "connector_llama_clip": TinyVlm(
        lambda folder: save_connector(folder, "llama", "clip"), "<|image|>", adds_to=connector_patch
    ),
    "connector_qwen2_siglip": TinyVlm(
        lambda folder: save_connector(folder, "qwen2", "siglip", tied=True), "<|image|>", adds_to=connector_patch
    ),
    "connector_olmo2_dinov2": TinyVlm(
        lambda folder: save_connector(folder, "olmo2", "dinov2"), "<|image|>", adds_to=connector_patch
    ),
}
