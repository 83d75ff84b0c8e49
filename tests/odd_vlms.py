"""Tiny models of kinds that no file in models/families/ knows: learned queries, cross-attention, video, sound."""

import torch
from tiny_models import DIM, N_LAYERS, tiny_tokenizer
from tiny_vlms import TEXT, VIT, chat_template, save
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2ImageProcessorPil,
    Idefics2Processor,
    LlamaConfig,
    LlavaNextImageProcessorPil,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaNextVideoProcessor,
    LlavaProcessor,
    MistralConfig,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessorPil,
    MllamaProcessor,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

from lensbank.models.files.processors import NoVideo, images_only

PINPOINTS = [[32, 64], [64, 32]]


def save_vipllava(folder):
    """LLaVA with five layers of its tower joined: patches in rows, as the generic path guesses."""
    torch.manual_seed(0)
    config = VipLlavaConfig(
        vision_config=CLIPVisionConfig(**VIT, image_size=32, patch_size=8, projection_dim=32),
        text_config=LlamaConfig(**TEXT),
        image_token_index=4,
        vision_feature_layer=[-1, -2, 0],
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tiny_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return save(folder, VipLlavaForConditionalGeneration(config), processor)


def save_idefics2(folder, split=False):
    """A Perceiver resampler: 16 learned queries, which could be taken for a grid of 4 x 4."""
    latents = 16
    torch.manual_seed(0)
    more = ["<fake_token_around_image>", "<end_of_utterance>"]
    tokenizer = tiny_tokenizer(named={"image_boundary_token": more[0]}, more=more)
    config = Idefics2Config(
        vision_config=dict(**VIT, image_size=32, patch_size=8),
        perceiver_config=dict(
            resampler_n_latents=latents, resampler_depth=1, resampler_n_heads=2, resampler_head_dim=16,
            num_key_value_heads=1, hidden_size=DIM,
        ),
        text_config=MistralConfig(**TEXT, sliding_window=None),
        image_token_id=4,
    )  # fmt: skip
    processor = Idefics2Processor(
        image_processor=Idefics2ImageProcessorPil(
            size={"shortest_edge": 32, "longest_edge": 32}, do_image_splitting=split
        ),
        tokenizer=tokenizer,
        image_seq_len=latents,
        chat_template=chat_template("<image>"),
    )
    return save(folder, Idefics2ForConditionalGeneration(config), processor)


def save_blip2(folder):
    """A Q-Former: 16 learned queries in front of the text."""
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                           image_size=32, patch_size=8),
        qformer_config=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
                            encoder_hidden_size=32, vocab_size=512),
        text_config=dict(model_type="opt", hidden_size=DIM, ffn_dim=48, num_hidden_layers=N_LAYERS,
                         num_attention_heads=4, vocab_size=512, word_embed_proj_dim=DIM, max_position_embeddings=512),
        num_query_tokens=16,
        image_token_index=4,
    )  # fmt: skip
    processor = Blip2Processor(
        image_processor=BlipImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=tiny_tokenizer(),
        num_query_tokens=16,
    )
    return save(folder, Blip2ForConditionalGeneration(config), processor)


def save_mllama(folder):
    """Cross-attention: the image is no part of the sequence."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = MllamaConfig(
        vision_config=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_global_layers=1,
                           attention_heads=4, image_size=32, patch_size=8, vision_output_dim=64,
                           intermediate_layers_indices=[0], max_num_tiles=4, supported_aspect_ratios=[[1, 1], [1, 2]]),
        text_config={**TEXT, "vocab_size": 512, "cross_attention_layers": [1],
                     "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        image_token_index=4,
    )  # fmt: skip
    processor = MllamaProcessor(
        image_processor=MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=2),
        tokenizer=tokenizer,
        chat_template=chat_template("<image>"),
    )
    return save(folder, MllamaForConditionalGeneration(config), processor)


def save_llava_next_video(folder):
    """LLaVA-NeXT for videos: an image is tiled, a video pooled."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(named={"video_token": "<video>"})
    config = LlavaNextVideoConfig(
        vision_config=CLIPVisionConfig(**VIT, image_size=32, patch_size=8, projection_dim=32),
        text_config=LlamaConfig(**TEXT),
        image_token_index=4,
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )
    processor = images_only(LlavaNextVideoProcessor)(
        video_processor=NoVideo(),
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=PINPOINTS
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return save(folder, LlavaNextVideoForConditionalGeneration(config), processor)


def save_qwen2_audio(folder):
    """Hears and does not see."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    torch.manual_seed(0)
    config = Qwen2AudioConfig(
        audio_config=dict(
            d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=8,
            max_source_positions=16,
        ),
        text_config=dict(model_type="qwen2", **TEXT),
        audio_token_index=5,
    )  # fmt: skip
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


ODD = {
    "vipllava": save_vipllava,
    "idefics2": save_idefics2,
    "idefics2, split": lambda folder: save_idefics2(folder, split=True),
    "blip2": save_blip2,
    "mllama": save_mllama,
    "llava_next_video": save_llava_next_video,
    "qwen2_audio": save_qwen2_audio,
}
