"""The warp kernels of the portrait renderer: vertex transform, rasterizer, shadow map, materials, background.

It is a rasterizer and not a ray caster. A portrait has about 20,000 triangles and 37,000 samples, and on one core a
depth buffer is much cheaper than that many rays. Shadows are from a second depth buffer, seen from the key light. On
the CPU, warp runs the threads of a launch one after another, in order. So the depth test without synchronization and
the atomic adds are exact and repeatable. Do not run these kernels on a GPU.
"""

# In a kernel, `float(0.0)` declares a variable that a loop may change, and there is no `in (...)`.
# ruff: noqa: UP018, RUF046, SIM109

from __future__ import annotations

import warp as wp

# Materials: what a triangle is made of. Module-level constants are compiled into the kernels.
SKIN = wp.constant(0)
EYE = wp.constant(1)
MOUTH = wp.constant(2)  # the inside of the mouth and the back of the eye sockets
TEETH = wp.constant(3)
GARMENT = wp.constant(4)
HAIR = wp.constant(5)
HAT = wp.constant(6)
GLASSES = wp.constant(7)
BUN = wp.constant(8)
VISOR = wp.constant(9)
MATERIALS = 10

EDGES = wp.constant(72)  # azimuth bins of the edge tables, 5 degrees each, from -180

SHADOW_SIZE = wp.constant(176)  # texels a side
SHADOW_RADIUS = wp.constant(0.23)  # meters of half a side


@wp.struct
class Look:
    """The uniforms of one portrait: lengths in meters, angles in radians, colors linear RGB."""

    focal: float  # samples
    distance: float  # of the camera from the eyes
    center: wp.vec2  # where the aim is in the picture, in samples
    aim: wp.vec3  # the point in the world that the camera looks at
    light_right: wp.vec3  # the frame of the key light, which looks along light_forward
    light_up: wp.vec3
    light_forward: wp.vec3
    key: wp.vec3  # colors of the lights
    fill: wp.vec3
    rim: wp.vec3
    skin: wp.vec3
    lip: wp.vec3
    iris: wp.vec3
    hair: wp.vec3
    freckles: float
    age: float  # 0 at 18 .. 1 at 75
    brow_weight: float
    brow: wp.vec3
    scalp: float  # opacity of the hair painted on the scalp
    curl: float  # 0 straight .. 1 frizzy
    comb: float  # how much strands lean sideways
    lock: float  # depth of the locks along the edge of the hair, radians
    stubble: float  # opacities of the beard's areas, 0..1
    moustache: float
    chin_beard: float
    cheek_beard: float
    gaze: wp.vec2  # meters that the iris moves over the eyeball
    lash: float  # strength of the lash line, 0..1
    closed: float  # 0 open eyes .. 1 shut
    garment: int  # index into GARMENTS
    cloth: wp.vec3
    hat: wp.vec3
    ribbed: float  # 1 for a knitted hat
    glasses: wp.vec3
    background: int  # index into BACKGROUNDS
    back_a: wp.vec3
    back_b: wp.vec3
    phase: float
    part: float  # where the hair is parted, sideways in units of the head's radius; beyond 1: nowhere
    seed: float  # moves every noise field


@wp.func
def bell(x: float, width: float) -> float:
    """A Gaussian bump of height 1."""
    return wp.exp(-0.5 * x * x / (width * width))


@wp.func
def noise(p: wp.vec3, seed: float) -> float:
    """Compute Perlin noise of a portrait."""
    return wp.noise(wp.uint32(7), p + wp.vec3(seed, seed * 0.7, -seed))


@wp.func
def edge_at(edge: wp.array(dtype=float), azimuth: float) -> float:
    """Interpolate an edge table at an azimuth in radians (Catmull-Rom)."""
    x = (azimuth / (2.0 * wp.pi) + 0.5) * float(EDGES)
    i = int(wp.floor(x))
    t = x - float(i)
    a = edge[(i + EDGES - 1) % EDGES]
    b = edge[(i + EDGES) % EDGES]
    c = edge[(i + 1) % EDGES]
    d = edge[(i + 2) % EDGES]
    return b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))


@wp.func
def locks(azimuth: float, seed: float) -> float:
    """Compute the waves of a hair edge, about -1..1: locks, and fine strands that blur the edge."""
    coarse = 0.5 * wp.sin(13.0 * azimuth + seed) * wp.sin(5.0 * azimuth + 2.0 * seed) + 0.3 * wp.sin(37.0 * azimuth)
    return coarse + 0.45 * wp.sin(97.0 * azimuth + seed) + 0.35 * wp.sin(163.0 * azimuth + 2.0 * seed)


@wp.func
def neckline(rest: wp.vec3, garment: int) -> float:
    """Compute the height below which cloth covers a template position; it is lowest at the throat."""
    x = wp.abs(rest[0])
    front = wp.smoothstep(0.03, -0.09, rest[1])
    shoulder = 5.0 * x * x
    line = 0.572 - 0.034 * front + shoulder
    if garment == 1:
        line = 0.572 - 0.030 * front + shoulder - 0.10 * front * wp.smoothstep(0.085, 0.0, x)
    elif garment == 2:
        line = 0.606 - 0.010 * front + shoulder
    elif garment == 3:
        line = 0.600 - 0.008 * front + shoulder - 0.13 * front * wp.smoothstep(0.05, 0.0, x)
    return line


@wp.func
def covers(
    material: int,
    rest: wp.vec3,
    look: Look,
    hair_edge: wp.array(dtype=float),
    hat_edge: wp.array(dtype=float),
) -> bool:
    """Tell whether a masked surface exists at `rest`. A smooth curve decides it for each sample."""
    if material == HAIR:
        return rest[1] > edge_at(hair_edge, rest[0]) + look.lock * locks(rest[0], look.seed)
    if material == HAT:
        return rest[1] > edge_at(hat_edge, rest[0])
    if material == GARMENT:
        return rest[2] < neckline(rest, look.garment)
    # Covered skin is left out, so that it is not visible through the cloth.
    return rest[2] > 0.58 or rest[2] > neckline(rest, look.garment) - 0.008


@wp.kernel
def transform(
    model: wp.array(dtype=wp.vec3),
    turn: wp.array(dtype=float),
    head: wp.mat33,
    body: wp.mat33,
    pivot: wp.vec3,
    look: Look,
    world: wp.array(dtype=wp.vec3),
    screen: wp.array(dtype=wp.vec3),
    light: wp.array(dtype=wp.vec3),
):
    """Pose every vertex: the head turns about the top of the neck, the torso less, the neck in between."""
    i = wp.tid()
    p = model[i] - pivot
    w = turn[i]
    q = head * p * w + body * p * (1.0 - w)
    world[i] = q
    r = q - look.aim
    depth = r[1] + look.distance
    screen[i] = wp.vec3(look.center[0] + look.focal * r[0] / depth, look.center[1] - look.focal * r[2] / depth, depth)
    scale = 0.5 * float(SHADOW_SIZE) / SHADOW_RADIUS
    light[i] = wp.vec3(
        0.5 * float(SHADOW_SIZE) + scale * wp.dot(r, look.light_right),
        0.5 * float(SHADOW_SIZE) - scale * wp.dot(r, look.light_up),
        wp.dot(r, look.light_forward),
    )


@wp.kernel
def add_normals(
    faces: wp.array2d(dtype=int),
    material: wp.array(dtype=int),
    enabled: wp.array(dtype=int),
    world: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
):
    """Add the area-weighted normals of the triangles to their vertices."""
    f = wp.tid()
    if enabled[material[f]] == 0:
        return
    a = world[faces[f, 0]]
    n = wp.cross(world[faces[f, 1]] - a, world[faces[f, 2]] - a)
    for k in range(3):
        normals[faces[f, k]] += n


@wp.func
def cross2(a: wp.vec3, b: wp.vec3, x: float, y: float) -> float:
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


@wp.kernel
def rasterize(
    faces: wp.array2d(dtype=int),
    material: wp.array(dtype=int),
    enabled: wp.array(dtype=int),
    screen: wp.array(dtype=wp.vec3),
    rest: wp.array(dtype=wp.vec3),
    look: Look,
    hair_edge: wp.array(dtype=float),
    hat_edge: wp.array(dtype=float),
    depth: wp.array2d(dtype=float),
    hit: wp.array2d(dtype=int),
):
    """Find the nearest triangle of every sample. `depth` [H, W] must be filled with 1e9, `hit` with -1."""
    f = wp.tid()
    m = material[f]
    if enabled[m] == 0:
        return
    a = screen[faces[f, 0]]
    b = screen[faces[f, 1]]
    c = screen[faces[f, 2]]
    area = cross2(a, b, c[0], c[1])
    # y grows downwards, so triangles that face the camera have a negative area.
    if wp.abs(area) < 1.0e-9 or (area > 0.0 and m <= EYE):
        return
    height = depth.shape[0]
    width = depth.shape[1]
    x0 = wp.max(0, int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])) - 0.5)))
    x1 = wp.min(width - 1, int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])) - 0.5)))
    y0 = wp.max(0, int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])) - 0.5)))
    y1 = wp.min(height - 1, int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])) - 0.5)))
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            px = float(x) + 0.5
            py = float(y) + 0.5
            u = cross2(b, c, px, py) / area
            v = cross2(c, a, px, py) / area
            w = 1.0 - u - v
            if u >= 0.0 and v >= 0.0 and w >= 0.0:
                z = u * a[2] + v * b[2] + w * c[2]
                if z < depth[y, x]:
                    solid = bool(True)
                    if m == SKIN or (m >= GARMENT and m <= HAT):
                        r = u * rest[faces[f, 0]] + v * rest[faces[f, 1]] + w * rest[faces[f, 2]]
                        solid = covers(m, r, look, hair_edge, hat_edge)
                    if solid:
                        depth[y, x] = z
                        hit[y, x] = f


@wp.func
def lit_fraction(p: wp.vec3, shadow: wp.array2d(dtype=float), jitter: float) -> float:
    """Compute how much key light reaches a light-space point: 8 taps on a spiral, rotated for each sample."""
    free = float(0.0)
    c = wp.cos(jitter)
    s = wp.sin(jitter)
    for k in range(8):
        radius = 0.6 + 0.36 * float(k)
        x = wp.clamp(int(p[0] + radius * c), 0, SHADOW_SIZE - 1)
        y = wp.clamp(int(p[1] + radius * s), 0, SHADOW_SIZE - 1)
        free += wp.smoothstep(0.012, 0.005, p[2] - shadow[y, x])
        turned = -0.7374 * c - 0.6755 * s  # by the golden angle
        s = 0.6755 * c - 0.7374 * s
        c = turned
    return free / 8.0


@wp.func
def openness(x: int, y: int, depth: wp.array2d(dtype=float), step: float, unit: float) -> float:
    """Compute ambient visibility: nearer neighbors within about `step` samples darken."""
    here = depth[y, x]
    dark = float(0.0)
    c = float(0.92)
    s = float(0.39)
    for k in range(8):
        radius = step * (0.5 + 0.5 * float(k % 2))
        i = wp.clamp(x + int(radius * c), 0, depth.shape[1] - 1)
        j = wp.clamp(y + int(radius * s), 0, depth.shape[0] - 1)
        turned = 0.70710678 * (c - s)  # by an eighth of a circle
        s = 0.70710678 * (c + s)
        c = turned
        nearer = (here - depth[j, i]) / unit
        # A neighbor far in front is another object, which does not darken.
        dark += wp.smoothstep(0.25, 1.6, nearer) * wp.smoothstep(6.0, 3.0, nearer)
    return 1.0 - 0.05 * dark


@wp.func
def skin_albedo(rest: wp.vec3, mask: wp.vec3, look: Look, root_edge: wp.array(dtype=float)) -> wp.vec3:
    """Paint the skin at a template position; `mask` has lip and the distances to the upper and lower lid."""
    x = wp.abs(rest[0])
    y = rest[1]
    z = rest[2]
    color = look.skin
    front = wp.smoothstep(-0.06, -0.11, y)
    # Blood under thin skin: cheeks, nose tip, ears, chin.
    blush = 0.55 * bell(x - 0.043, 0.016) * bell(z - 0.692, 0.016) * front
    blush += 0.5 * bell(x, 0.012) * bell(z - 0.691, 0.010) * wp.smoothstep(-0.15, -0.16, y)
    blush += 0.4 * wp.smoothstep(0.076, 0.083, x) + 0.2 * bell(x, 0.015) * bell(z - 0.635, 0.010) * front
    mottle = noise(rest * 60.0, look.seed) + 0.5 * noise(rest * 190.0, look.seed)
    color = wp.cw_mul(color, wp.vec3(1.0 - 0.02 * blush, 1.0 - 0.30 * blush, 1.0 - 0.28 * blush))
    color = color * (1.0 + 0.06 * mottle)
    if look.freckles > 0.0:
        spot = wp.smoothstep(0.22, 0.42, noise(wp.vec3(rest[0], 0.3 * y, z) * 420.0, look.seed))
        where = bell(x - 0.022, 0.028) * bell(z - 0.702, 0.016) * front
        color = wp.cw_mul(color, wp.vec3(1.0, 1.0, 1.0) - wp.vec3(0.28, 0.42, 0.52) * (look.freckles * spot * where))
    # Depth that geometry does not show at 64 pixels: nostrils, sockets, folds.
    nostril = bell(x - 0.0085, 0.0042) * bell(z - 0.6815, 0.0026) * wp.smoothstep(-0.146, -0.150, y)
    socket = bell(x - 0.024, 0.010) * bell(z - 0.7365, 0.007) * front
    crease = bell(x - 0.031, 0.012) * bell(z - 0.7375, 0.0022) * front
    bag = bell(x - 0.030, 0.011) * bell(z - 0.718, 0.003) * front * (0.35 + 0.65 * look.age)
    along = wp.clamp((0.682 - z) / 0.026, 0.0, 1.0)
    fold = bell(x - (0.0175 + 0.013 * along), 0.0022) * wp.smoothstep(0.690, 0.680, z) * wp.smoothstep(0.650, 0.660, z)
    fold = fold * front * (0.10 + 0.38 * look.age)
    wrinkle = look.age * bell(x, 0.03) * bell(z - 0.782, 0.010) * wp.max(0.0, wp.sin(z * 900.0)) * front
    chin_fold = bell(x, 0.014) * bell(z - 0.6445, 0.003) * front
    shade = 0.18 * socket + 0.3 * crease + 0.25 * bag + fold + 0.16 * wrinkle + 0.12 * chin_fold
    color = wp.cw_mul(color, wp.vec3(1.0 - 0.8 * shade, 1.0 - shade, 1.0 - shade))
    color = color * (1.0 - 0.85 * wp.min(1.0, nostril))

    lip = wp.smoothstep(0.25, 0.75, mask[0])
    color = wp.lerp(color, look.lip * (0.86 + 0.2 * wp.smoothstep(0.662, 0.654, z)), lip * 0.9)
    mouth_line = bell(z - 0.6615, 0.0013) * wp.smoothstep(0.0268, 0.0235, x) * wp.smoothstep(-0.125, -0.135, y)
    color = color * (1.0 - 0.72 * mouth_line)

    # The beard becomes thinner towards the cheek and the neck, and around the lips.
    jaw_line = 0.662 + 0.046 * wp.smoothstep(0.036, 0.074, x)
    cheek = wp.smoothstep(jaw_line + 0.004, jaw_line - 0.010, z) * wp.smoothstep(0.020, 0.032, x)
    cheek = cheek * wp.smoothstep(0.600, 0.622, z) * wp.smoothstep(-0.045, -0.08, y)
    chin = wp.smoothstep(0.034, 0.022, x) * wp.smoothstep(0.652, 0.644, z) * wp.smoothstep(0.588, 0.614, z)
    chin = chin * wp.smoothstep(-0.112, -0.13, y)
    chin = wp.max(chin, bell(x - 0.0275, 0.005) * wp.smoothstep(0.672, 0.664, z) * wp.smoothstep(0.60, 0.62, z) * front)
    lip_hair = wp.smoothstep(0.0305, 0.0235, x) * bell(z - 0.6735 + 0.16 * wp.max(0.0, x - 0.012), 0.0034) * front
    density = wp.max(wp.max(look.cheek_beard * cheek, look.chin_beard * chin), look.moustache * lip_hair)
    density = wp.max(density, look.stubble * wp.max(wp.max(cheek, chin), lip_hair)) * (1.0 - lip)
    if density > 0.0:
        hairs = 0.8 + 0.5 * noise(wp.vec3(rest[0] * 500.0, y * 300.0, z * 160.0), look.seed)
        opacity = wp.clamp(density * (0.75 + 0.3 * hairs), 0.0, 1.0)
        color = wp.lerp(color, look.hair * (0.75 + 0.5 * hairs), opacity)

    # Brows are an arch, thick near the nose and thin at the temple; their hairs lean outwards.
    s = wp.clamp((x - 0.0125) / 0.037, 0.0, 1.0)
    arch = 0.7480 + 0.0050 * wp.sin(2.8 * s) - 0.0036 * s
    thick = (0.0040 - 0.0019 * s) * look.brow_weight
    brow = wp.smoothstep(1.25, 0.55, wp.abs(z - arch) / thick)
    brow = brow * wp.smoothstep(0.0105, 0.0145, x) * wp.smoothstep(0.0515, 0.045, x) * front
    if brow > 0.0:
        brow = brow * (0.88 + 0.3 * noise(wp.vec3((x - 0.6 * z) * 700.0, 0.0, z * 120.0), look.seed))
        color = wp.lerp(color, look.brow, wp.clamp(0.92 * brow, 0.0, 1.0))

    # Lashes are thicker on the outer half of the upper lid.
    outer = wp.smoothstep(0.018, 0.044, x)
    upper = wp.smoothstep(1.0, 0.35, mask[1] / (0.0017 + 0.0045 * look.closed + 0.0011 * outer))
    # A closed eye is one dark line where the lids meet.
    lower = wp.smoothstep(1.0, 0.2, mask[2] / (0.0012 + 0.0035 * look.closed)) * (0.5 + 0.5 * look.closed)
    color = wp.lerp(color, wp.vec3(0.012, 0.008, 0.006), wp.clamp((upper + lower) * look.lash, 0.0, 1.0))

    # The scalp under the hair has the edge of the shell's roots, and fades over about a centimeter.
    d = rest - wp.vec3(0.0, -0.055, 0.745)
    azimuth = wp.atan2(d[0], -d[1])
    elevation = wp.asin(d[2] / wp.length(d))
    roots = elevation - edge_at(root_edge, azimuth)
    if roots > -0.1:
        cover = look.scalp * wp.smoothstep(-0.05, 0.07, roots + 0.05 * noise(rest * 130.0, look.seed))
        cover = cover * wp.smoothstep(0.083, 0.079, x)  # not the ears
        color = wp.lerp(color, look.hair * (0.9 + 0.25 * noise(rest * 400.0, look.seed)), cover)
    return color


@wp.func
def strands(rest: wp.vec3, look: Look) -> float:
    """Compute the tone of hair, around 1: long streaks along the strands, or clumps where it is curly."""
    across = rest[0] + look.comb * rest[1]
    straight = noise(wp.vec3(across * 26.0, rest[1] * 1.6, 0.0), look.seed)
    straight += 0.7 * noise(wp.vec3(across * 60.0, rest[1] * 2.5, 3.0), look.seed)
    frizz = noise(wp.vec3(rest[0] * 13.0, rest[1] * 15.0, 5.0), look.seed)
    frizz += 0.6 * noise(wp.vec3(rest[0] * 30.0, rest[1] * 34.0, 9.0), look.seed)
    return 1.0 + 0.55 * wp.lerp(straight, 0.8 * frizz, look.curl)


@wp.func
def backdrop(x: float, y: float, look: Look) -> wp.vec3:
    """Compute the background at picture coordinates in 0..1: low frequencies, as if far out of focus."""
    a = look.back_a
    b = look.back_b
    t = wp.clamp(0.5 + 0.7 * (y - 0.5) + 0.35 * wp.sin(look.phase) * (x - 0.5), 0.0, 1.0)
    color = wp.lerp(a, b, t)
    if look.background == 1:
        for k in range(7):
            h = look.phase + 12.9 * float(k)
            cx = 0.5 + 0.62 * wp.sin(h * 1.7)
            cy = 0.42 + 0.5 * wp.sin(h * 2.9 + 1.0)
            radius = 0.07 + 0.05 * wp.sin(h * 4.1)
            d = wp.sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy))
            disc = wp.smoothstep(radius * 1.35, radius * 0.75, d)
            color = wp.lerp(color, wp.lerp(a, b, 0.5 + 0.5 * wp.sin(h)) * 1.5, 0.45 * disc)
    elif look.background == 2:
        line = 0.55 + 0.14 * wp.sin(look.phase * 3.0) + 0.05 * (x - 0.5)
        color = wp.lerp(a * (1.15 - 0.3 * y), b * (0.95 - 0.25 * y), wp.smoothstep(line - 0.07, line + 0.07, y))
    elif look.background == 3:
        left = 0.2 + 0.15 * wp.sin(look.phase * 5.0)
        band = wp.smoothstep(left - 0.05, left + 0.05, x)
        second = wp.smoothstep(0.04, -0.04, wp.abs(x - 0.82 + 0.1 * wp.sin(look.phase * 7.0)) - 0.07)
        color = wp.lerp(a * 0.85, wp.lerp(a, b, 0.7), band)
        color = wp.lerp(color, b * 1.12, 0.6 * second)
    vignette = (x - 0.5) * (x - 0.5) + (y - 0.45) * (y - 0.45)
    return color * (1.06 - 0.45 * vignette) * (1.0 + 0.05 * noise(wp.vec3(x * 3.0, y * 3.0, 1.0), look.phase))


@wp.func
def shade(
    x: int,
    y: int,
    f: int,
    faces: wp.array2d(dtype=int),
    material: wp.array(dtype=int),
    screen: wp.array(dtype=wp.vec3),
    world: wp.array(dtype=wp.vec3),
    light: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    rest: wp.array(dtype=wp.vec3),
    mask: wp.array(dtype=wp.vec3),
    look: Look,
    root_edge: wp.array(dtype=float),
    hat_edge: wp.array(dtype=float),
    depth: wp.array2d(dtype=float),
    shadow: wp.array2d(dtype=float),
) -> wp.vec3:
    """Compute the linear color of one covered sample."""
    i = faces[f, 0]
    j = faces[f, 1]
    k = faces[f, 2]
    m = material[f]
    a = screen[i]
    b = screen[j]
    c = screen[k]
    area = cross2(a, b, c[0], c[1])
    u = cross2(b, c, float(x) + 0.5, float(y) + 0.5) / area
    v = cross2(c, a, float(x) + 0.5, float(y) + 0.5) / area
    w = 1.0 - u - v
    r = u * rest[i] + v * rest[j] + w * rest[k]
    p = u * world[i] + v * world[j] + w * world[k]
    n = wp.normalize(u * normals[i] + v * normals[j] + w * normals[k])
    view = wp.normalize(look.aim - wp.vec3(0.0, look.distance, 0.0) - p)
    if m >= GARMENT and wp.dot(n, view) < 0.0:
        n = -n

    wrap = float(0.15)
    gloss = float(0.0)
    power = float(20.0)
    sheen = wp.vec3(0.0, 0.0, 0.0)  # the color of light that passes through, e.g. red under skin
    strand = float(1.0)
    color = wp.vec3(0.0, 0.0, 0.0)
    if m == SKIN:
        mk = u * mask[i] + v * mask[j] + w * mask[k]
        color = skin_albedo(r, mk, look, root_edge)
        lip = wp.smoothstep(0.25, 0.75, mk[0])
        wrap = 0.32
        gloss = 0.09 + 0.22 * lip
        power = 14.0 + 30.0 * lip
        sheen = wp.vec3(0.10, 0.025, 0.008)
    elif m == EYE:
        side = wp.sign(r[0])
        ox = r[0] - side * 0.0313 - look.gaze[0]
        oz = r[2] - 0.7284 - look.gaze[1]
        radius = wp.sqrt(ox * ox + oz * oz)
        color = wp.vec3(0.80, 0.775, 0.75)
        color = color * (1.0 - 0.3 * wp.smoothstep(0.006, 0.012, wp.abs(r[0] - side * 0.0313)))
        fibres = 1.0 + 0.35 * wp.sin(14.0 * wp.atan2(oz, ox)) * 0.4
        ring = look.iris * (1.35 * fibres * (1.0 - 0.65 * wp.smoothstep(0.0046, 0.0066, radius)))
        ring = ring * (1.0 - 0.35 * wp.smoothstep(-0.002, 0.004, oz))  # the lid's shadow; the lower iris glows
        color = wp.lerp(color, ring, wp.smoothstep(0.0072, 0.0064, radius))
        color = wp.lerp(color, wp.vec3(0.004, 0.004, 0.005), wp.smoothstep(0.0034, 0.0027, radius))
        color = color * (1.0 - 0.45 * wp.smoothstep(0.7298, 0.7335, r[2]))
        wrap = 0.5
    elif m == MOUTH:
        color = wp.vec3(0.060, 0.012, 0.010)
        wrap = 0.4
    elif m == TEETH:
        color = wp.vec3(0.78, 0.74, 0.66) * (0.88 + 0.12 * wp.smoothstep(0.0, 0.5, wp.abs(wp.sin(r[0] * 14.0))))
        wrap = 0.5
        gloss = 0.1
    elif m == GARMENT:
        weave = noise(r * 45.0, look.seed)
        color = look.cloth * (1.0 + 0.12 * weave)
        n = wp.normalize(n + 0.25 * wp.vec3(noise(r * 22.0, look.seed), 0.0, noise(r * 22.0, look.seed + 5.0)))
        if r[2] > neckline(r, look.garment) - 0.008:
            color = color * 0.72  # the band along the neckline
        wrap = 0.25
    elif m == HAIR or m == BUN:
        strand = strands(r, look)
        sideways = wp.sin(r[0]) * wp.cos(r[1])
        forwards = wp.cos(r[0]) * wp.cos(r[1])
        parting = bell(sideways - look.part, 0.03) * wp.smoothstep(-0.2, 0.1, forwards) * wp.smoothstep(0.3, 0.5, r[1])
        color = look.hair * (strand * (1.0 - 0.55 * parting))
        bump = look.curl * 0.9
        n = wp.normalize(
            n
            + bump
            * wp.vec3(
                noise(wp.vec3(r[0] * 12.0, r[1] * 14.0, 2.0), look.seed),
                0.0,
                noise(wp.vec3(r[0] * 12.0, r[1] * 14.0, 7.0), look.seed),
            )
        )
        wrap = 0.3
    elif m == HAT or m == VISOR:
        rib = look.ribbed * wp.sin(r[0] * 60.0)
        color = look.hat * (1.0 + 0.16 * rib + 0.10 * noise(wp.vec3(r[0] * 4.0, r[1] * 4.0, 0.0), look.seed))
        if m == HAT and look.ribbed > 0.0 and r[1] < edge_at(hat_edge, r[0]) + 0.24:
            color = color * 0.82  # the turned-up brim
        if m == VISOR:
            color = color * 0.7
        wrap = 0.25
    else:
        color = look.glasses
        gloss = 0.5
        power = 30.0

    # Interleaved gradient noise (Jimenez): neighbors have well-spread angles.
    jitter = 0.06711056 * float(x) + 0.00583715 * float(y)
    jitter = 52.9829189 * (jitter - wp.floor(jitter))
    jitter = 6.2831853 * (jitter - wp.floor(jitter))
    lp = u * light[i] + v * light[j] + w * light[k]
    free = 0.12 + 0.88 * lit_fraction(lp, shadow, jitter)
    to_light = -look.light_forward
    cosine = wp.dot(n, to_light)
    diffuse = wp.max(0.0, (cosine + wrap) / (1.0 + wrap))
    unit = 0.011  # meters of depth that count as an occluder
    ambient = openness(x, y, depth, 0.02 * look.focal / look.distance, unit)
    up = 0.5 + 0.5 * n[2]
    facing = wp.max(0.0, wp.dot(n, view))
    from_fill = wp.max(0.0, 0.35 + 0.65 * wp.dot(n, wp.normalize(wp.vec3(-to_light[0], -0.8, 0.1))))
    # Where skin turns from light to shadow, mostly red light passes through it.
    terminator = bell(cosine - 0.05, 0.25) * free
    lighting = (
        look.key * (diffuse * free)
        + look.fill * (from_fill * ambient * (0.7 + 0.3 * up))
        + sheen * (2.0 * terminator + 0.6)
    )
    result = wp.cw_mul(color, lighting) * (0.55 + 0.45 * ambient)
    half = wp.normalize(to_light + view)
    result = result + look.key * (gloss * wp.pow(wp.max(0.0, wp.dot(n, half)), power) * free)
    rim = wp.pow(1.0 - facing, 3.0) * wp.max(0.0, 0.25 + 0.75 * n[2] - 0.4 * to_light[0] * n[0])
    if m == SKIN or m == HAIR or m == BUN:
        result = result + wp.cw_mul(look.rim, color + wp.vec3(0.03, 0.03, 0.03)) * (rim * ambient)
    if m == HAIR or m == BUN:
        # Strands run down the head, so the highlight is a band across them (Kajiya and Kay).
        tangent = wp.normalize(wp.vec3(0.0, 0.0, -1.0) + n * n[2])
        sine = wp.sqrt(wp.max(0.0, 1.0 - wp.pow(wp.dot(tangent, half) + 0.10 * (strand - 1.0), 2.0)))
        band = wp.pow(sine, 26.0) * (1.0 - 0.75 * look.curl) * wp.max(0.0, wp.dot(n, half)) * (0.35 + 0.65 * free)
        result = result + (look.hair * 1.6 + wp.vec3(0.035, 0.035, 0.035)) * (0.55 * band * strand)
    if m == EYE:
        # One highlight, up and towards the key light, whatever the shading of the eye.
        cx = r[0] - wp.sign(r[0]) * 0.0313 - 0.0024 * wp.sign(to_light[0])
        cz = r[2] - 0.7308
        spark = wp.smoothstep(0.0021, 0.0012, wp.sqrt(cx * cx + cz * cz))
        result = wp.lerp(result, wp.vec3(0.95, 0.95, 0.95), 0.9 * spark)
    return result


@wp.func
def film(c: float) -> float:
    """Convert linear light to sRGB 0..1, with a soft shoulder so that highlights do not clip."""
    x = wp.max(0.0, c)
    if x > 0.6:
        x = 0.6 + 0.4 * (1.0 - wp.exp(-(x - 0.6) / 0.4))
    if x < 0.0031308:
        return 12.92 * x
    return 1.055 * wp.pow(x, 0.41666667) - 0.055


@wp.kernel
def develop(
    supersampling: int,
    faces: wp.array2d(dtype=int),
    material: wp.array(dtype=int),
    screen: wp.array(dtype=wp.vec3),
    world: wp.array(dtype=wp.vec3),
    light: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    rest: wp.array(dtype=wp.vec3),
    mask: wp.array(dtype=wp.vec3),
    look: Look,
    root_edge: wp.array(dtype=float),
    hat_edge: wp.array(dtype=float),
    depth: wp.array2d(dtype=float),
    hit: wp.array2d(dtype=int),
    shadow: wp.array2d(dtype=float),
    image: wp.array3d(dtype=wp.uint8),
    skin_sum: wp.array(dtype=float),
):
    """Shade the samples of one pixel, average them in linear light, and add up the skin (r, g, b, count)."""
    row, column = wp.tid()
    total = wp.vec3(0.0, 0.0, 0.0)
    skin = int(0)
    blank = int(0)
    for s in range(supersampling * supersampling):
        y = row * supersampling + s // supersampling
        x = column * supersampling + s % supersampling
        f = hit[y, x]
        if f < 0:
            blank += 1
        else:
            if material[f] == SKIN:
                skin += 1
            sample = shade(
                x, y, f, faces, material, screen, world, light, normals, rest, mask, look, root_edge,
                hat_edge, depth, shadow,
            )  # fmt: skip
            # Samples are clamped before averaging, so that a very bright one does not whiten its pixel.
            total += wp.min(sample, wp.vec3(1.3, 1.3, 1.3))
    samples = float(supersampling * supersampling)
    if blank > 0:
        side = float(image.shape[0])
        total += backdrop((float(column) + 0.5) / side, (float(row) + 0.5) / side, look) * float(blank)
    total = total / samples
    c = wp.vec3(film(total[0]), film(total[1]), film(total[2]))
    for k in range(3):
        image[row, column, k] = wp.uint8(wp.clamp(255.0 * c[k] + 0.5, 0.0, 255.0))
        if skin == supersampling * supersampling:
            skin_sum[k] += c[k]
    if skin == supersampling * supersampling:
        skin_sum[3] += 1.0
