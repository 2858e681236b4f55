"""Configs in JSON and YAML: bounded, of plain values, and read like those in Python."""

import json

import pytest

from ssl_ext.config.load import load_config
from ssl_ext.errors import UserError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
BAD = {
    "bomb.yaml": (BOMB, "its aliases expand it to more than 1000000 values"),
    "loop.yaml": ("model: &a [*a]", "nested more than 100 times"),
    "tag.yaml": ("model: !!python/object/apply:os.mkdir [MARKER]", "could not determine a constructor"),
    "tuple.yaml": ("model: !!python/tuple [1]", "could not determine a constructor"),
    "deep.yaml": ("model: " + "[" * 1000 + "]" * 1000, "nested too deeply"),
    "levels.yaml": ("model: " + "[" * 100 + "]" * 100, "nested more than 100 times"),
    "cut.yaml": ("model: {a: [1, 2", "not a YAML file of plain values"),
    "list.yml": ("- 1\n- 2\n", "it has no keys"),
    "empty.yaml": ("", "it has no keys"),
    "deep.json": ('{"model": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
    "levels.json": ('{"model": ' + "[" * 100 + "]" * 100 + "}", "nested more than 100 times"),
    "list.json": ("[1, 2]", "an object is needed"),
    "cut.json": ('{"model": ', "not a config"),
    "bytes.json": ('{"model": "a\\u0000b"}', "NUL"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_sentence(name, tmp_path):
    text, words = BAD[name]
    (tmp_path / name).write_text(text.replace("MARKER", str(tmp_path / "marker")))
    with pytest.raises(UserError, match=words) as raised:
        load_config(tmp_path / name)
    assert name in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "marker").exists()


def test_the_same_config_in_three_languages(tmp_path):
    base = "model = dict(type='SimCLR', neck=dict(type='A', layers=[1, 2]))\ntrain_cfg = dict(max_epochs=3)\n"
    (tmp_path / "a.py").write_text(base)
    changed = {"_base_": "a.py", "train_cfg": {"max_epochs": 4}}
    (tmp_path / "b.json").write_text(json.dumps(changed))
    (tmp_path / "c.yaml").write_text("_base_: a.py\ntrain_cfg: &t {max_epochs: 4}\n")
    (tmp_path / "d.py").write_text("_base_ = 'c.yaml'\n")
    configs = [load_config(tmp_path / name).to_dict() for name in ("b.json", "c.yaml", "d.py")]
    assert configs[0] == configs[1] == configs[2]
    assert configs[0]["train_cfg"] == {"max_epochs": 4} and configs[0]["model"]["neck"]["layers"] == [1, 2]


def test_a_bomb_as_a_base_is_found(tmp_path):
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "a.py").write_text("_base_ = 'bomb.yaml'\n")
    with pytest.raises(UserError, match="its aliases expand it"):
        load_config(tmp_path / "a.py")


def test_a_few_aliases_are_no_bomb(tmp_path):
    (tmp_path / "a.yaml").write_text("model: &m {type: SimCLR}\nviews: [*m, *m, *m]\n")
    assert load_config(tmp_path / "a.yaml").views == [{"type": "SimCLR"}] * 3
