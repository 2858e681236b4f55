"""A config stored in a checkpoint builds registered network modules and nothing else."""

import copy
import inspect
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS

from ssl_ext.apis import build_model, export
from ssl_ext.config.networks import without_pretrained
from ssl_ext.config.stored import config_of_checkpoint, read_plain_config, stored_config, untrusted_config
from ssl_ext.engine import write_checkpoint
from ssl_ext.errors import UserError
from ssl_ext.registry import LOADERS, MODELS, registered, registered_only

ROOT = Path(__file__).parents[2]
NAMES = (
    *("subprocess.Popen", "mmpretrain.subprocess.Popen", "ssl_ext.mmpretrain.subprocess.Popen"),
    *(
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "torch.hub.load",
        "runpy.run_path",
        "mmengine.Config.fromfile",
    ),
    *("mmengine.config.Config.fromfile", "ssl_ext.apis.pretrain", "ssl_ext.registry.import_module"),
    *("mmpretrain.models.backbones.resnet.os.system", "torch.nn.Module", "torch.load", "numpy.load"),
    *("", ".", "..", "ResNet.", ".ResNet", "ssl_ext..ResNet", "ResNet.__init__", "resnet", "ＲesNet"),
    *("antigravity", "ssl_ext_planted", "ssl_ext_planted.ResNet", "collate_batch", "ToTensor"),
    *(
        "HuggingFaceCLIPTokenizer",
        "TIMMBackbone",
        "mmpretrain.HuggingFaceClassifier",
        "TimmClassifier",
        "VQKD",
    ),
    *(
        "CLIPGenerator",
        "VQAGenerationHead",
        "ImageToImageRetriever",
        "Blip2Caption",
        "Runner",
        "SGD",
        "LoadImage",
    ),
    *(None, 3, True, ["subprocess.Popen"], ("ResNet",), {"type": "ResNet"}, b"ResNet"),
)
# Paths of dicts that an attack replaces by dict(type=...).
PLACES = (
    *(
        "model",
        "model.backbone",
        "model.backbone.norm_cfg",
        "model.backbone.conv_cfg",
        "model.backbone.act_cfg",
    ),
    *(
        "model.neck",
        "model.neck.norm_cfg",
        "model.head",
        "model.head.loss",
        "model.predictor",
        "model.init_cfg",
    ),
    *("model.backbone.init_cfg", "model.data_preprocessor", "model.data_preprocessor.batch_augments"),
    *("data_preprocessor", "views.0", "views.0.transforms.0", "views.0.transforms.1.transforms"),
    *("model.neck.0.0.0.head", "model.train_cfg.augments.0", "model.unknown.key"),
)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def planted(tmp_path, monkeypatch, marker):
    """An importable module that creates a file on import."""
    for name in ("ssl_ext_planted", "ssl_ext_planted_too"):
        (tmp_path / "path" / name).mkdir(parents=True)
        (tmp_path / "path" / name / "__init__.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (tmp_path / "path" / "ssl_ext_planted" / "registry.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    yield marker
    for name in [name for name in sys.modules if name.startswith("ssl_ext_planted")]:
        del sys.modules[name]


def put(settings, place, value):
    """Set a value at a path of names and indices; lists and dicts grow as needed."""
    node = settings = copy.deepcopy(settings)
    *parents, last = (int(part) if part.isdigit() else part for part in place.split("."))
    for part, following in zip(parents, [*parents, last][1:], strict=True):
        kind = list if isinstance(following, int) else dict
        if isinstance(node, list):
            node.extend([{}] * (part + 1 - len(node)))
        elif not isinstance(node.get(part), kind):
            node[part] = kind()
        if isinstance(node, list) and not isinstance(node[part], kind):
            node[part] = kind()
        node = node[part]
    if isinstance(node, list):
        node.extend([{}] * (last + 1 - len(node)))
    node[last] = value
    return settings


def text_of(settings):
    return "".join(f"{key} = {value!r}\n" for key, value in settings.items())


@pytest.mark.parametrize("place", PLACES)
def test_no_place_in_a_config_takes_a_name_that_is_not_registered(place, tiny_settings, marker):
    for name in ("subprocess.Popen", "mmpretrain.subprocess.Popen", "builtins.eval", "torch.hub.load"):
        bad = dict(type=name, args=["touch", str(marker)])
        for value, key in (
            (bad, place),
            ([bad], f"{place}.0"),
            (([bad],), f"{place}.0.0"),
            ({"a": bad}, f"{place}.a"),
        ):
            text = text_of(put(tiny_settings, place, value))
            if place.startswith(("model.neck", "model.head", "model.predictor")):  # of the pretext task alone
                model = untrusted_config(text, "It").model
                assert model.type == "PlainBackbone" and name not in str(model)
                continue
            with pytest.raises(
                UserError, match=re.escape(f"{key}.type='{name}', which is not a registered network class")
            ):
                untrusted_config(text, "It")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "data_preprocessor.mean",
            [float("nan")] * 3,
            r"data_preprocessor.mean=\[nan, nan, nan\]; it must be a list",
        ),
        ("model.backbone.stem_channels", 2**40, "model.backbone.stem_channels=1099511627776; no size"),
        ("model.neck", "NonLinearNeck", "model.neck='NonLinearNeck'; it must be a dict"),
        ("data_preprocessor.std", "x" * 300, "data_preprocessor.std='x+\\.\\.\\."),
    ],
)
def test_a_value_out_of_range_names_the_file_that_holds_it(key, value, message, tiny_settings):
    text = text_of(put(tiny_settings, key, value))
    with pytest.raises(
        UserError, match=f"The config inside 'a.pth' cannot be used: .*{message}.* \\(--config\\)"
    ):
        untrusted_config(text, "The config inside 'a.pth'")


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_that_are_no_registered_part_of_a_network(name, tiny_settings, planted):
    before = set(sys.modules)
    assert registered(name) is None
    with pytest.raises(UserError, match=r"model\.backbone\.type=.*--config"):
        untrusted_config(text_of(put(tiny_settings, "model.backbone.type", name)), "It")
    with registered_only(), pytest.raises((KeyError, TypeError, RuntimeError), match="type|not in"):
        MODELS.build(dict(type=name))
    assert not planted.exists() and not {
        n for n in set(sys.modules) - before if "planted" in n or n == "antigravity"
    }


@pytest.mark.parametrize(
    "key",
    [
        "ResNet",
        "mmpretrain.ResNet",
        "ssl_ext.SimCLR",
        "Conv2d",
        "Mixup",
        "Kaiming",
        "FasterRCNN",
        "ColorJitter",
    ],
)
def test_keys_of_registries_are_found(key):
    assert registered(key).__name__.startswith(key.rpartition(".")[2].removesuffix("ming"))


def test_paths_of_registered_classes_are_keys_too():
    from ssl_ext.models import SimCLR

    assert registered("ssl_ext.models.SimCLR") is registered(f"{SimCLR.__module__}.SimCLR") is SimCLR
    with registered_only():
        assert MODELS.get("ssl_ext.models.SimCLR") is SimCLR


def test_other_keys_resolve_nothing_either(planted):
    """Registry names can occur under any key, such as ``conv_type`` of a patch embedding."""
    settings = dict(type="VisionTransformer", arch="deit-t", img_size=32, patch_size=16)
    for name in ("ssl_ext_planted", "ssl_ext_planted.Conv", "ssl_ext_planted_too.a.b", "os.system"):
        with registered_only(), pytest.raises((KeyError, TypeError, RuntimeError)):
            MODELS.build(dict(settings, patch_cfg=dict(conv_type=name)))
    with registered_only(), pytest.raises((KeyError, TypeError, RuntimeError)):
        MODELS.build(dict(type="ResNet2", _scope_="ssl_ext_planted"))
    assert not planted.exists()
    ROOT_MODELS.get("ssl_ext_planted.Conv")
    assert planted.exists()  # the module does create the file on import


def test_initial_weights_of_something_that_is_no_module(tiny_settings):
    for attribute in ("__class__", "forward", "_modules", "nothing"):
        init = dict(type="Constant", val=0, layer="Conv2d", override=dict(name=attribute))
        config = untrusted_config(text_of(put(tiny_settings, "model.backbone.init_cfg", init)), "It")
        with registered_only(), pytest.raises(UserError, match="initial weights"):
            build_model(config)


def test_names_of_another_kind_of_part_are_refused_on_building(tiny_settings):
    for place, name in (("views.0.transforms.0.type", "ResNet"), ("model.backbone.type", "ColorJitter")):
        config = untrusted_config(text_of(put(tiny_settings, place, name)), "It")
        with registered_only(), pytest.raises(UserError, match=f"type='{name}' is not a registered"):
            build_model(config)


def test_export_builds_with_registered_names_only(planted, tmp_path):
    model = dict(
        type="PlainBackbone",
        backbone=dict(
            type="VisionTransformer",
            arch="deit-t",
            img_size=32,
            patch_cfg=dict(conv_type="ssl_ext_planted.Conv"),
        ),
    )
    text = f"model = {model}\ndata_preprocessor = dict(mean=[0.5] * 3, std=[0.5] * 3)\n".replace(
        "[0.5] * 3", "[0.5, 0.5, 0.5]"
    )
    torch.save(dict(meta=dict(cfg=text), state_dict={"w": torch.ones(1)}), tmp_path / "evil.pth")
    with pytest.raises(UserError, match="registry"):
        export(tmp_path / "evil.pth", "safetensors")
    assert not planted.exists()


@pytest.mark.parametrize(
    "line",
    [
        "custom_imports = dict(imports=['ssl_ext_planted'])",
        "default_scope = 'ssl_ext_planted'",
        "_scope_ = 'ssl_ext_planted'",
        "hooks = [dict(type='subprocess.Popen')]",
        "train_dataloader = dict(dataset=dict(type='os.system', data_root='https://example.org'))",
        "work_dir = '{{ fileBasenameNoExtension }}'",
        "env_variables = {}",
        "runner_type = 'ssl_ext_planted.Runner'",
        "load_from = 'https://example.org/a.pth'",
    ],
)
def test_what_does_not_describe_the_network_is_dropped(line, tiny_settings, planted):
    config = untrusted_config(f"{line}\n{text_of(tiny_settings)}", "It")
    assert set(config) == {"model", "data_preprocessor", "views"}
    assert not planted.exists()


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "model = dict(type=open('{marker}', 'w'))",
        "model = __import__('os')",
        "model = dict(**a)",
        "model = [x for x in ()]",
        "model = f'{{1}}'",
        "model = lambda: 0",
        "model = dict(type='SimCLR') if open('{marker}', 'w') else 1",
        "model: open('{marker}', 'w') = 1",
        "model = (open('{marker}', 'w'),)[0]",
        "_base_ = ['/etc/passwd']",
        "model = dict(type='SimCLR', backbone=dict(type='ResNet', _scope_='ssl_ext_planted'))",
        "model = " + "-" * 100000 + "1",
        "model = " + "1+" * 100000 + "1",
        "model = " + "[" * 150 + "]" * 150 + "\nmodel.x = 1",
        "model = {{[]: 1}}",
        "model = '\0'",
        "model = " + "9" * 5000,
        "model = dict(copy=1)",
        "model = 3",
        "model = dict(backbone=dict(type='ResNet'))",
    ],
)
def test_texts_that_are_no_plain_config(text, planted, tmp_path):
    text = text.format(marker=planted) if "{" in text else text
    checkpoint = dict(meta=dict(cfg=text))
    for read in (stored_config, lambda content, path: config_of_checkpoint(path, content)):
        with pytest.raises(UserError, match=r"onfig"):
            read(checkpoint, tmp_path / "a.pth")
    (tmp_path / "beside.py").write_text(text)
    with pytest.raises(UserError, match=r"onfig"):
        config_of_checkpoint(tmp_path / "a.pth", {})
    assert not planted.exists()


def test_bytes_beside_a_checkpoint_are_no_config(tmp_path):
    (tmp_path / "beside.py").write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(UserError, match=r"beside\.py"):
        config_of_checkpoint(tmp_path / "a.pth", {})


def test_nothing_is_loaded_for_the_initial_weights(tiny_settings, monkeypatch):
    """Pretrained weights can be named in a dict, list or tuple, and for a submodule."""
    load = dict(type="Pretrained", checkpoint="http://example.org/a.pth")
    start = dict(type="Kaiming", layer="Conv2d")
    for init in (
        load,
        dict(load, type="mmengine.model.PretrainedInit"),
        [load],
        (start, load),
        [start, dict(load)],
    ):
        for place in ("model.init_cfg", "model.backbone.init_cfg", "model.neck.init_cfg"):
            config = untrusted_config(text_of(put(tiny_settings, place, init)), "It")
            assert "example.org" not in str(config)
    config = untrusted_config(
        text_of(
            put(tiny_settings, "model.backbone.init_cfg", dict(start, override=dict(load, name="conv1")))
        ),
        "It",
    )
    assert config.model.backbone.init_cfg == start
    text = text_of(put(tiny_settings, "model.backbone.pretrained", "http://example.org/a.pth"))
    assert "example.org" not in str(untrusted_config(text, "It"))
    assert without_pretrained((start, load)) == (start,)


LOADING = re.compile(
    r"(?<![.\w])(eval|exec|open|__import__|import_module|get_object_from_string)\(|torch\.load|load_checkpoint|from_pretrained"
    r"|create_model|torch\.hub|jit\.load|mmengine\.load|urlopen|np\.load|pickle|subprocess|os\.system"
)


def test_no_part_of_a_network_that_is_allowed_loads_files_by_itself():
    """New classes of MMPretrain that load files must be added to LOADERS."""
    for name in LOADERS:
        assert registered(name) is None
    registry, seen = MODELS, 0
    while registry is not None:
        for name, found in registry.module_dict.items():
            if registered(name) is found and not found.__module__.startswith("torch."):
                seen += 1
                code = "\n".join(line for line in inspect.getsource(found).splitlines() if ">>>" not in line)
                assert not LOADING.search(code), f"{name}: {LOADING.search(code)[0]}"
        registry = registry.parent
    assert seen > 200


def test_a_checkpoint_of_this_project_is_exported_as_with_its_config_named(tiny_config, tmp_path):
    tiny_config.model.backbone.update(
        conv_cfg=None, norm_cfg=dict(type="BN"), init_cfg=[dict(type="Kaiming", layer="Conv2d")]
    )
    state = build_model(tiny_config).state_dict()
    write_checkpoint(dict(meta=dict(cfg=tiny_config.pretty_text), state_dict=state), tmp_path / "a.pth")
    written = [
        export(tmp_path / "a.pth", "torchvision", out=tmp_path / f"{name}.pth", config=config).path
        for name, config in (("stored", None), ("named", tiny_config))
    ]
    first, second = (torch.load(path, weights_only=True) for path in written)
    assert all(torch.equal(first["state_dict"][key], value) for key, value in second["state_dict"].items())
    for content in (first, second):
        content["meta"]["cfg"] = read_plain_config(content["meta"]["cfg"])
    assert first["meta"] == second["meta"]


def test_parts_of_shipped_configs_are_allowed():
    for folder in sorted((ROOT / "configs").iterdir()):
        path = min(folder.glob("*.py"), default=None) if not folder.name.startswith("_") else None
        config = Config.fromfile(path) if path else {}
        if "model" in config:
            assert untrusted_config(config.pretty_text, str(path)).model == without_pretrained(
                config.model
            ), os.fspath(path)
