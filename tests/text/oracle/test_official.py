import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hanging import must_end

from zoo.errors import InvalidFileError
from zoo.text.oracle import model, official
from zoo.text.oracle.model import load_oracle
from zoo.text.oracle.official import MAX_BYTES, convert, read_official


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    """Random parameters of the official layout."""
    rng = np.random.default_rng(7)
    gate = [(32, 32), (32, 32), (32,)]
    shapes = [(5000, 32), *gate * 4, (32, 5000), (5000,)]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def python_2(arrays: list[np.ndarray]) -> bytes:
    """The arrays as Python 2 and its NumPy pickled them, in protocol 0."""
    parts = [b"(lp0\n"]
    for array in arrays:
        shape = b"".join(b"I%d\n" % side for side in array.shape)
        parts.append(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(" + shape + b"t")
        parts.append(b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n")
        parts.append(b"S" + repr(array.tobytes())[1:].encode() + b"\ntba")
    return b"".join([*parts, b"."])


WRITERS = {
    "python 2, protocol 0": python_2,
    "protocol 0": lambda arrays: pickle.dumps(arrays, protocol=0),
    "protocol 2": lambda arrays: pickle.dumps(arrays, protocol=2),
    "protocol 2, NumPy 1": lambda arrays: pickle.dumps(arrays, protocol=2).replace(b"numpy._core", b"numpy.core"),
    "protocol 4": lambda arrays: pickle.dumps(arrays, protocol=4),
}


def plain_nll(arrays: list[np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """The paper's code in NumPy: x @ W with the matrices as the file has them."""
    embedding, wi, ui, bi, wf, uf, bf, wo, uo, bo, wc, uc, bc, out, out_bias = (a.astype(np.float64) for a in arrays)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    hidden = cell = np.zeros((len(tokens), 32))
    before, losses = np.zeros(len(tokens), dtype=int), []
    for column in tokens.T:
        x = embedding[before]
        i, f, o = (sigmoid(x @ w + hidden @ u + b) for w, u, b in ((wi, ui, bi), (wf, uf, bf), (wo, uo, bo)))
        cell = f * cell + i * np.tanh(x @ wc + hidden @ uc + bc)
        hidden = o * np.tanh(cell)
        logits = hidden @ out + out_bias
        largest = logits.max(1, keepdims=True)
        log_sum = largest[:, 0] + np.log(np.exp(logits - largest).sum(1))
        losses.append(log_sum - logits[np.arange(len(tokens)), column])
        before = column
    return np.stack(losses, axis=1)


@pytest.mark.parametrize("writer", WRITERS)
def test_the_official_file_is_read_as_the_papers_code_reads_it(writer, arrays, tmp_path: Path):
    """Whatever Python wrote it: gates in their order, no matrix transposed, to the NLL of a plain forward pass."""
    (tmp_path / "target_params.pkl").write_bytes(WRITERS[writer](arrays))

    convert(tmp_path / "target_params.pkl", tmp_path / "oracle.safetensors")

    tokens = np.random.default_rng(1).integers(0, 5000, (6, 20))
    nll = load_oracle(tmp_path / "oracle.safetensors").nll(torch.from_numpy(tokens))
    np.testing.assert_allclose(nll.numpy(), plain_nll(arrays, tokens), rtol=1e-4, atol=1e-4)


class Run:
    def __reduce__(self):
        return (eval, ("open('touched', 'w')",))


HOSTILE = {
    "a call": pickle.dumps([Run()]),
    "a call among arrays": pickle.dumps([np.zeros(3, np.float32), Run()]),
    "objects in an array": pickle.dumps([np.array([Run()], dtype=object)]),
    "numpy's own reader of pickles": b"cnumpy\nload\n(S'other.pkl'\ntR.",
    "a way round by attributes": pickle.dumps(np.zeros(3).tobytes, protocol=4),
    "memory by a shape": b"cnumpy\nndarray\n((I1000000000000\nttR.",
    "memory by a memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "memory by a length": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f",
    "another codec": b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
    "a state for a name": b"cnumpy.core.multiarray\n_reconstruct\n(N}(S'name'\nS'dtype'\nutb.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pfile\n.",
    "another thing": pickle.dumps({"weights": 1}),
    "integers": pickle.dumps([np.zeros(3, dtype=np.int64)]),
    "too few": pickle.dumps([np.zeros((5000, 32), np.float32)]),
    "a shape of other bytes": pickle.dumps([np.zeros(4, np.float32)], protocol=2).replace(b"K\x04", b"K\x05"),
    "nothing": b"",
    "noise": bytes(range(256)),
    "doubled for ever": b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b".",
    "a list that holds itself twice": b"\x80\x02]q\x00(h\x00h\x00e.",
    "lists that hold each other twice": b"\x80\x02]q\x00" + b"](h\x00h\x00eq\x00" * 60 + b".",
    "a key of nested tuples": b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00K\x01s.",
    "deep nesting": b"(" * 100_000 + b"." + b"t",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_anything_else_is_refused(kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A pickle of more than arrays of floats, or none, raises InvalidFileError that names it, and runs nothing."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.pkl"
    path.write_bytes(HOSTILE[kind])
    with must_end(), pytest.raises(InvalidFileError, match=r"params\.pkl") as refused:
        read_official(path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "touched").exists()


def test_no_array_is_made_before_all_are_counted(arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A list that names one array many times is short, and its arrays would take gigabytes."""
    (tmp_path / "params.pkl").write_bytes(pickle.dumps([arrays[0]] * 20_000))
    monkeypatch.setattr(official._Array, "to_numpy", lambda array: pytest.fail("an array was made"))

    with pytest.raises(InvalidFileError, match="15 arrays"):
        read_official(tmp_path / "params.pkl")


def test_a_text_that_is_encoded_many_times_takes_no_memory(tmp_path: Path):
    """Each of 3000 calls for the bytes of 10 kB of text would take 10 kB."""
    text = b"X" + (10_000).to_bytes(4, "little") + b"a" * 10_000 + b"q\x00"
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    (tmp_path / "params.pkl").write_bytes(b"\x80\x02](" + text + call * 3000 + b"e.")

    tracemalloc.start()
    with pytest.raises(InvalidFileError, match="a list of arrays"):
        read_official(tmp_path / "params.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_a_cut_file_and_a_large_one_are_refused(arrays, tmp_path: Path):
    """Half a file, one beyond any oracle's size, and none."""
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(arrays)[:100_000])
    with pytest.raises(InvalidFileError, match="refused"):
        read_official(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InvalidFileError, match="larger"):
        read_official(path)
    with pytest.raises(InvalidFileError, match="cannot read"):
        read_official(tmp_path / "none.pkl")


def test_numbers_that_are_not_finite_are_refused(arrays, tmp_path: Path):
    """A NaN among the parameters is no oracle."""
    broken = [*arrays[:-1], np.full(5000, np.nan, np.float32)]
    (tmp_path / "params.pkl").write_bytes(pickle.dumps(broken))
    with pytest.raises(InvalidFileError, match="finite"):
        read_official(tmp_path / "params.pkl")


def test_the_papers_file_is_converted_and_measured(
    arrays: list[np.ndarray],
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """The two commands of docs/text.md, one after the other, of a file of either protocol."""
    source, out = tmp_path / "target_params.pkl", tmp_path / "oracle.safetensors"
    for protocol in WRITERS:
        out.unlink(missing_ok=True)
        source.write_bytes(WRITERS[protocol](arrays))
        assert command("convert", source, "--out", out)[:2] == (0, f"{out}\n")
    monkeypatch.setattr("sys.argv", ["model", "--weights", str(out), "--samples", "20"])
    model.main()
    assert "length 20: " in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["model", "--weights", str(tmp_path / "not")])
    with pytest.raises(SystemExit) as ended:
        model.main()
    assert ended.value.code == 2
    assert str(tmp_path / "not") in capsys.readouterr().err


def test_what_is_no_oracle_is_not_converted(
    arrays: list[np.ndarray], tmp_path: Path, command: Callable[..., tuple[int, str, str]]
):
    """A list of something else, or a name that says a folder; nothing is written."""
    source, other = tmp_path / "target_params.pkl", tmp_path / "other.pkl"
    source.write_bytes(WRITERS["protocol 2"](arrays))
    other.write_bytes(pickle.dumps([1, 2, 3], protocol=2))

    for path, out, told in (
        (other, tmp_path / "a.safetensors", "not the oracle's parameters"),
        (source, tmp_path / "folder", "should end in .safetensors"),
    ):
        code, _, errors = command("convert", path, "--out", out)
        assert (code, told in errors, out.exists()) == (2, True, False)
