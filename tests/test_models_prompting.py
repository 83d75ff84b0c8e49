import shutil

import pytest
from PIL import Image
from tiny_models import CHAT_TEMPLATE, save_fastvlm

from lensbank.models.loading import load_model
from lensbank.models.visual.prompting import DEFAULT_QUESTION, image_prompt
from lensbank.models.visual_tokens import prepare_image
from lensbank.schemas.errors import ModelError, UsageError

TEXT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_fastvlm(tmp_path_factory.mktemp("models") / "vlm", chat_template=None)


def with_template(folder, tmp_path, template):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "chat_template.jinja").write_text(template)
    return load_model(str(copy), dtype="float32")


@pytest.mark.parametrize("template", [CHAT_TEMPLATE])
def test_a_chat_template_gets_the_image_first(folder, tmp_path, template):
    loaded = with_template(folder, tmp_path, template)
    assert image_prompt(loaded, "Is it a dog?") == (
        "<|im_start|>user\n<image>Is it a dog?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert f"<image>{DEFAULT_QUESTION}<|im_end|>" in image_prompt(loaded, None)


def test_a_template_for_plain_text_gets_the_image_token_as_text(folder, tmp_path):
    loaded = with_template(folder, tmp_path, TEXT_TEMPLATE)
    assert image_prompt(loaded, "Is it a dog?") == (
        "<|im_start|>user\n<image>\nIs it a dog?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_template_in_the_tokenizer_is_used_where_the_processor_has_none(folder):
    loaded = load_model(str(folder), dtype="float32")
    loaded.tokenizer.chat_template = TEXT_TEMPLATE
    assert image_prompt(loaded, "Dog?").startswith("<|im_start|>user\n<image>\nDog?")


def test_a_template_that_forgets_the_image(folder, tmp_path):
    loaded = with_template(folder, tmp_path, "{% for m in messages %}{{ m['role'] }}{% endfor %}")
    with pytest.raises(ModelError, match="does not place the image token <image>.*chat_template.jinja"):
        image_prompt(loaded, "Is it a dog?")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('the first turn must be a system one') }}", "the first turn must be a system one"),
        (
            "{% if not messages[1:] %}{{ raise_exception('must alternate') }}{% endif %}",
            "must alternate",
        ),
        ("{{ nothing.at.all }}", "'nothing' is undefined"),
    ],
)
def test_a_template_that_refuses_the_turn_is_quoted(folder, tmp_path, template, said):
    loaded = with_template(folder, tmp_path, template)
    with pytest.raises(ModelError, match=f"rejects a user turn with an image; it says .{said}"):
        image_prompt(loaded, "Is it a dog?")


def test_without_a_template(folder):
    loaded = load_model(str(folder), dtype="float32")
    assert image_prompt(loaded, None) == "<image>"
    assert image_prompt(loaded, "Is it a dog?") == "<image>\nIs it a dog?"
    assert image_prompt(loaded, "USER: <image> Is it? ASSISTANT:") == "USER: <image> Is it? ASSISTANT:"


def test_an_image_token_in_the_prompt_is_refused(folder, tmp_path):
    plain = load_model(str(folder), dtype="float32")
    with pytest.raises(UsageError, match="image token <image> 2 times"):
        image_prompt(plain, "<image> and <image>")
    with pytest.raises(UsageError, match="image token <image> 1 times"):
        image_prompt(with_template(folder, tmp_path, CHAT_TEMPLATE), "what is <image>?")


TEXT_FIRST = CHAT_TEMPLATE.replace("for part in message['content']", "for part in message['content']|reverse")


def test_a_template_that_puts_the_text_first_is_read_right_and_said_so(folder, tmp_path):
    """Positions count from the prompt's end; boxes are those of the same image behind no text."""
    loaded = with_template(folder, tmp_path, TEXT_FIRST)
    text = image_prompt(loaded, "Is it a dog?")
    assert text == "<|im_start|>user\nIs it a dog?<image><|im_end|>\n<|im_start|>assistant\n"
    image = Image.new("RGB", (200, 120))
    plain = prepare_image(load_model(str(folder), dtype="float32"), image)
    for prompt, before in (("Is it a dog?", "Is it a dog?"), (None, DEFAULT_QUESTION)):
        shown = prepare_image(loaded, image, prompt)
        head = loaded.tokenizer(f"<|im_start|>user\n{before}", add_special_tokens=True)["input_ids"]
        assert [token.index for token in shown.tokens] == list(range(len(head), len(head) + 9))
        assert [(t.row, t.col, t.box) for t in shown.tokens] == [(t.row, t.col, t.box) for t in plain.tokens]
        assert any("puts the prompt before the image" in note for note in shown.notes)
    assert not any("before the image" in note for note in plain.notes)


def test_a_template_that_puts_the_image_first_needs_no_note(folder, tmp_path):
    loaded = with_template(folder, tmp_path, CHAT_TEMPLATE)
    assert not any("before" in note for note in prepare_image(loaded, Image.new("RGB", (90, 90))).notes)


@pytest.mark.parametrize("times", [2, 3])
def test_a_template_that_places_the_image_more_than_once_is_refused(folder, tmp_path, times):
    """Even where it would place it once in plain text: that is not how the model was taught to see images."""
    template = CHAT_TEMPLATE.replace("%}<image>{%", "%}" + "<image>" * times + "{%")
    loaded = with_template(folder, tmp_path, template)
    with pytest.raises(ModelError, match=f"places the image token <image> {times} times.*chat_template.jinja"):
        image_prompt(loaded, None)
