"""What is said of filters that leave nothing."""

import numpy as np
from query_banks import identity, payload, row_id, write_rows

from lensbank.query.filtering import _nothing_note
from lensbank.schemas.filters import parse
from lensbank.store.opening import open_store


def test_a_word_in_other_characters_is_pointed_out(tmp_path):
    rows = {1: np.eye(2, 4, dtype=np.float32)}
    with open_store(str(tmp_path), create=True) as store:
        write_rows(
            store, [identity(1, 4)], [row_id(1), row_id(2)], [payload("cafe\u0301"), payload("br\u00fbl\u00e9")], rows
        )
        with store.open(identity(1, 4).name()) as bank:
            note = _nothing_note([bank], parse(["word=caf\u00e9"]))
            assert "in decomposed characters (Unicode NFD): write it so." in note
            assert "in composed characters" in _nothing_note([bank], parse(["word=bru\u0302le\u0301"]))
            for nothing in ("word=th\u00e9", "word!=caf\u00e9", "token=caf\u00e9", "word=dog"):
                assert "characters" not in _nothing_note([bank], parse([nothing]))
