import gc
import weakref

import pytest
import torch
from tiny_models import DIM, N_LAYERS, llama_config
from torch import nn
from transformers import LlamaForCausalLM

from lensbank.models.capture import capture_hidden_states
from lensbank.models.layers import find_language_model
from lensbank.schemas.errors import LayerError, ModelError

IDS = torch.tensor([[5, 9, 3, 7], [8, 6, 2, 4]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config()).eval()


@pytest.fixture
def lm(model):
    return find_language_model(model)


def hooks(lm):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lm.module.modules())


def run(lm, layers, ids=IDS, stop_early=True, **kwargs):
    with torch.inference_mode(), capture_hidden_states(lm, layers, stop_early) as states:
        lm.module(input_ids=ids, use_cache=False, **kwargs)
    return states


def test_a_layer_is_the_output_of_its_block(lm):
    """By hand: the embedding, then block after block, as the architecture is defined."""
    states = run(lm, range(N_LAYERS + 1))
    position_ids = torch.arange(4)[None]
    with torch.inference_mode():
        hidden = lm.embed_tokens(IDS)
        rotary = lm.module.rotary_emb(hidden, position_ids=position_ids)
        causal = torch.full((4, 4), float("-inf")).triu(1)[None, None]
        torch.testing.assert_close(states[0], hidden)
        for layer, block in enumerate(lm.blocks, start=1):
            hidden = block(hidden, attention_mask=causal, position_ids=position_ids, position_embeddings=rotary)
            torch.testing.assert_close(states[layer], hidden)


def test_layers_are_numbered_as_hidden_states_but_the_last_is_before_the_norm(model, lm):
    states = run(lm, range(N_LAYERS + 1))
    with torch.inference_mode():
        expected = model(input_ids=IDS, output_hidden_states=True).hidden_states
    for layer in range(N_LAYERS):
        assert torch.equal(states[layer], expected[layer])
    assert not torch.allclose(states[N_LAYERS], expected[N_LAYERS], atol=1e-3)
    torch.testing.assert_close(lm.final_norm(states[N_LAYERS]), expected[N_LAYERS])


def test_layer_zero_is_what_enters_the_first_block(lm):
    """In a VLM that is the connector's output, handed over as `inputs_embeds`."""
    embeds = torch.randn(2, 4, DIM)
    with torch.inference_mode(), capture_hidden_states(lm, [0]) as states:
        lm.module(inputs_embeds=embeds, use_cache=False)
    assert torch.equal(states[0], embeds)


def test_layer_zero_given_by_keyword(lm):
    block = lm.blocks[0]
    with capture_hidden_states(lm, [0]) as states:
        block(hidden_states=torch.ones(1, 2, DIM))
    assert torch.equal(states[0], torch.ones(1, 2, DIM))


@pytest.mark.parametrize("deepest", [0, 1, 2])
def test_deeper_blocks_do_not_run(lm, deepest):
    ran = []
    for number, block in enumerate(lm.blocks, start=1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    lm.final_norm.register_forward_pre_hook(lambda *_: ran.append("norm"))
    run(lm, [deepest])
    assert ran == list(range(1, deepest + 1))
    ran.clear()
    run(lm, [deepest], stop_early=False)
    assert ran == [1, 2, 3, "norm"]


def test_without_stopping_the_forward_pass_returns(model, lm):
    with torch.inference_mode(), capture_hidden_states(lm, [1], stop_early=False) as states:
        logits = model(input_ids=IDS).logits
    assert states[1].shape == (2, 4, DIM)
    assert torch.equal(logits, model(input_ids=IDS).logits)


def test_the_model_works_as_before_after_an_early_stop(model, lm):
    with torch.inference_mode():
        before = model(input_ids=IDS, output_hidden_states=True)
        run(lm, [1])
        after = model(input_ids=IDS, output_hidden_states=True)
    assert torch.equal(before.logits, after.logits)
    assert len(after.hidden_states) == N_LAYERS + 1


def test_an_early_stop_keeps_nothing_of_the_pass_alive(lm):
    """The exception that ends the pass knows its frames; on a GPU what they hold would add up until a collection."""
    seen = []
    handle = lm.blocks[1].register_forward_pre_hook(lambda _module, args: seen.append(weakref.ref(args[0])))
    gc.collect()
    gc.disable()
    try:
        states = run(lm, [2])
        handle.remove()
        assert set(states) == {2}
        assert seen[0]() is None
    finally:
        gc.enable()


def test_states_carry_no_gradient(lm):
    with capture_hidden_states(lm, [0, 2]) as states:
        lm.module(input_ids=IDS, use_cache=False)
    assert not states[0].requires_grad
    assert not states[2].requires_grad


def test_hooks_are_removed(lm):
    before = hooks(lm)
    run(lm, [0, 1, 3])
    assert hooks(lm) == before


def test_hooks_are_removed_after_an_error_in_the_model(lm):
    before = hooks(lm)
    with pytest.raises(IndexError, match="out of range"):
        run(lm, [0, 2], ids=torch.tensor([[10**6]]))
    assert hooks(lm) == before


def test_hooks_are_removed_after_an_interrupt(lm):
    before = hooks(lm)
    with pytest.raises(KeyboardInterrupt), capture_hidden_states(lm, [1]):
        raise KeyboardInterrupt
    assert hooks(lm) == before


def test_a_layer_that_does_not_exist_hooks_nothing(lm):
    before = hooks(lm)
    with pytest.raises(LayerError, match="Layer 4 does not exist.*0.*3"):
        run(lm, [1, N_LAYERS + 1])
    assert hooks(lm) == before


def test_a_layer_that_did_not_run_is_an_error(lm):
    with pytest.raises(ModelError, match="Layer 1, 2 did not run"), capture_hidden_states(lm, [1, 2]):
        pass


def test_two_passes_in_one_capture_are_an_error(lm):
    with pytest.raises(ModelError, match="ran twice"), capture_hidden_states(lm, [1], stop_early=False):
        lm.module(input_ids=IDS)
        lm.module(input_ids=IDS)


def test_a_capture_inside_another_leaves_the_outer_one_running(lm):
    with torch.inference_mode(), capture_hidden_states(lm, [3]) as outer:
        with capture_hidden_states(lm, [1], stop_early=False) as inner:
            lm.module(input_ids=IDS, use_cache=False)
        raise AssertionError("the outer capture's signal passed the inner one")
    assert inner.keys() == {1}
    assert outer.keys() == {3}


class TupleBlock(nn.Module):
    """A block as older transformers had them: its output is a tuple."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, *args, **kwargs):
        return self.block(*args, **kwargs), "attention weights"


class Unpack(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, *args, **kwargs):
        return self.block(*args, **kwargs)[0]


def test_tuple_and_tensor_outputs_give_the_same_states(lm):
    expected = run(lm, [1, 2])
    tuples = [TupleBlock(block) for block in lm.blocks]
    wrapped = nn.ModuleList(tuples)
    lm.module.layers = nn.ModuleList(Unpack(block) for block in tuples)
    states = run(type(lm)(**{**vars(lm), "blocks": wrapped}), [1, 2])
    assert torch.equal(states[1], expected[1])
    assert torch.equal(states[2], expected[2])


def test_a_block_that_emits_no_states_is_an_error(lm):
    class Strange(nn.Module):
        def forward(self, *args, **kwargs):
            return {"hidden": 1}

    blocks = nn.ModuleList([Strange()])
    strange = type(lm)(**{**vars(lm), "blocks": blocks, "n_layers": 1})
    expected = r"Layer 1 gave dict; expected hidden states \[batch, seq, dim\]"
    with pytest.raises(ModelError, match=expected), capture_hidden_states(strange, [1]):
        blocks[0](torch.zeros(1, 2, 3))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_the_states(lm, side):
    """By the attention mask, on either side, the states are those of the sentence alone."""
    alone = run(lm, [0, 1, 3], ids=torch.tensor([[5, 9, 3]]))
    pads = torch.ones(1, 2, dtype=torch.long)
    row, real = torch.tensor([[5, 9, 3]]), torch.ones(1, 3, dtype=torch.long)
    first, second = (0 * pads, real) if side == "left" else (real, 0 * pads)
    short = torch.cat([pads, row] if side == "left" else [row, pads], dim=1)
    ids = torch.cat([short, torch.tensor([[8, 6, 2, 4, 7]])])
    mask = torch.cat([torch.cat([first, second], dim=1), torch.ones(1, 5, dtype=torch.long)])
    states = run(lm, [0, 1, 3], ids=ids, attention_mask=mask)
    for layer in (0, 1, 3):
        torch.testing.assert_close(states[layer][0][mask[0].bool()], alone[layer][0], rtol=1e-4, atol=1e-5)
