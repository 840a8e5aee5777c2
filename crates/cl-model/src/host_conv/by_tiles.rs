//! Convolutions with a 3×3 kernel at stride 1 by tiles: Winograd's minimal filtering F(2×2, 3×3) (Lavin & Gray 2016).
//!
//! Four outputs, a tile, come from a square of sixteen inputs `d`: `y = A₂ ( (G₂ w) ∘ (B₂ d) )`, where `B₂`, `G₂` and `A₂` apply a matrix to the
//! rows and to the columns of a square. Summed over input channels, the sixteen products `∘` are products of matrices. They are 16 multiplications
//! where the kernel on four positions takes 36. Factors are 1 and ½, so that the results are as accurate as plain ones. Derivatives go
//! through the same products with the adjoints of the three maps.

use super::buffer::Buffer;
use super::channels::add;
use super::geometry::Geometry;
use super::way::Way;
use crate::closed_form::product::{Rows, add_transposed_times, for_each, times, times_transposed, transposed_times};
use pulp::Arch;
use std::ops::{Add, Mul, Sub};

/// Rows and columns of the inputs of a tile.
const SIDE: usize = 4;
/// Products of a tile.
const PRODUCTS: usize = SIDE * SIDE;
/// Rows and columns of a tile.
const TILE: usize = 2;
/// Rows and columns of the kernel.
const KERNEL: usize = 3;

/// Channels below which products are too short to gain by it.
const FEWEST_CHANNELS: usize = 16;

/// Numbers of as many channels.
#[derive(Clone, Copy)]
struct Lanes<const N: usize>([f32; N]);

impl<const N: usize> Add for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut lanes = self.0;
        lanes.iter_mut().zip(&other.0).for_each(|(a, b)| *a += b);
        Self(lanes)
    }
}

impl<const N: usize> Sub for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let mut lanes = self.0;
        lanes.iter_mut().zip(&other.0).for_each(|(a, b)| *a -= b);
        Self(lanes)
    }
}

impl<const N: usize> Mul<f32> for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        let mut lanes = self.0;
        for lane in &mut lanes {
            *lane *= factor;
        }
        Self(lanes)
    }
}

/// A linear map of a row of I numbers to one of O; which one is a type, so that each gets code of its own.
trait RowMap<const I: usize, const O: usize> {
    fn of<const N: usize>(row: [Lanes<N>; I]) -> [Lanes<N>; O];

    /// Of the rows and the columns of a square, `[I, I]` to `[O, O]`.
    #[inline(always)]
    fn of_square<const N: usize>(square: [[Lanes<N>; I]; I]) -> [[Lanes<N>; O]; O] {
        let mut rows = [[Lanes([0.0; N]); O]; I];
        for i in 0..I {
            rows[i] = Self::of(square[i]);
        }
        let mut out = [[Lanes([0.0; N]); O]; O];
        for x in 0..O {
            let mut column = [Lanes([0.0; N]); I];
            for i in 0..I {
                column[i] = rows[i][x];
            }
            let column = Self::of(column);
            for y in 0..O {
                out[y][x] = column[y];
            }
        }
        out
    }
}

/// `B`.
struct Inputs;
impl RowMap<SIDE, SIDE> for Inputs {
    #[inline(always)]
    fn of<const N: usize>([a, b, c, d]: [Lanes<N>; SIDE]) -> [Lanes<N>; SIDE] {
        [a - c, b + c, c - b, b - d]
    }
}

/// The adjoint of [`Inputs`].
struct InputsBack;
impl RowMap<SIDE, SIDE> for InputsBack {
    #[inline(always)]
    fn of<const N: usize>([a, b, c, d]: [Lanes<N>; SIDE]) -> [Lanes<N>; SIDE] {
        [a, b - c + d, b + c - a, Lanes([0.0; N]) - d]
    }
}

/// `A`.
struct Outputs;
impl RowMap<SIDE, TILE> for Outputs {
    #[inline(always)]
    fn of<const N: usize>([a, b, c, d]: [Lanes<N>; SIDE]) -> [Lanes<N>; TILE] {
        [a + b + c, b - c - d]
    }
}

/// The adjoint of [`Outputs`].
struct OutputsBack;
impl RowMap<TILE, SIDE> for OutputsBack {
    #[inline(always)]
    fn of<const N: usize>([a, b]: [Lanes<N>; TILE]) -> [Lanes<N>; SIDE] {
        [a, a + b, a - b, Lanes([0.0; N]) - b]
    }
}

/// `G`.
struct Kernel;
impl RowMap<KERNEL, SIDE> for Kernel {
    #[inline(always)]
    fn of<const N: usize>([a, b, c]: [Lanes<N>; KERNEL]) -> [Lanes<N>; SIDE] {
        [a, (a + b + c) * 0.5, (a - b + c) * 0.5, c]
    }
}

/// The adjoint of [`Kernel`].
struct KernelBack;
impl RowMap<SIDE, KERNEL> for KernelBack {
    #[inline(always)]
    fn of<const N: usize>([a, b, c, d]: [Lanes<N>; SIDE]) -> [Lanes<N>; KERNEL] {
        [a + (b + c) * 0.5, (b - c) * 0.5, (b + c) * 0.5 + d]
    }
}

/// Where a square of rows of `channels` numbers begins: `None` for what lies outside, zeros when read and nothing when written.
type Places<const S: usize> = [[Option<usize>; S]; S];

/// Applies a map to squares of rows of `channels` numbers: reads them from `from`, adds what comes out to, or puts it into, `into`.
#[inline(always)]
fn transform<M: RowMap<I, O>, const I: usize, const O: usize, const ADDS: bool>(
    channels: usize,
    from: (&[f32], &Places<I>),
    into: (&mut [f32], &Places<O>),
) {
    let whole = channels - channels % LANES;
    for c in (0..whole).step_by(LANES) {
        transform_lanes::<M, I, O, LANES, ADDS>(c, (from.0, from.1), (&mut *into.0, into.1));
    }
    for c in whole..channels {
        transform_lanes::<M, I, O, 1, ADDS>(c, (from.0, from.1), (&mut *into.0, into.1));
    }
}

/// Channels that are transformed together.
const LANES: usize = 16;

#[inline(always)]
fn transform_lanes<M: RowMap<I, O>, const I: usize, const O: usize, const N: usize, const ADDS: bool>(
    c: usize,
    (from, places): (&[f32], &Places<I>),
    (into, targets): (&mut [f32], &Places<O>),
) {
    let mut square = [[Lanes([0.0; N]); I]; I];
    for y in 0..I {
        for x in 0..I {
            if let Some(at) = places[y][x] {
                square[y][x].0.copy_from_slice(&from[at + c..at + c + N]);
            }
        }
    }
    let square = M::of_square(square);
    for y in 0..O {
        for x in 0..O {
            let Some(at) = targets[y][x] else { continue };
            let into = &mut into[at + c..at + c + N];
            if ADDS {
                into.iter_mut().zip(&square[y][x].0).for_each(|(a, b)| *a += b);
            } else {
                into.copy_from_slice(&square[y][x].0);
            }
        }
    }
}

/// Calls `each` with the number of each tile of images and the places of a square around it: the tile itself (S = 2), or its inputs (S = 4).
#[inline(always)]
fn for_each_tile<const S: usize>(
    [height, width]: [usize; 2],
    images: usize,
    channels: usize,
    mut each: impl FnMut(usize, &Places<S>),
) {
    let margin = (S - TILE) / 2;
    let mut tile = 0;
    for image in 0..images {
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                let mut places = [[None; S]; S];
                for y in top.saturating_sub(margin)..height.min(top + TILE + margin) {
                    for x in left.saturating_sub(margin)..width.min(left + TILE + margin) {
                        let pixel = (image * height + y) * width + x;
                        places[y + margin - top][x + margin - left] = Some(pixel * channels);
                    }
                }
                each(tile, &places);
                tile += 1;
            }
        }
    }
}

/// A map of a square around each tile of images of `channels`, `[16, tiles, channels]`.
fn to_products<M: RowMap<S, SIDE>, const S: usize>(geometry: &Geometry, channels: usize, images: &[f32]) -> Buffer {
    let count = images.len() / (geometry.positions() * channels);
    let tiles = count * tiles(geometry);
    let mut products = Buffer::of(PRODUCTS * tiles * channels);
    let into = &mut *products;
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let into = into;
            for_each_tile(
                geometry.output,
                count,
                channels,
                #[inline(always)]
                |tile, places| {
                    let to = in_products(tile, tiles, channels);
                    transform::<M, S, SIDE, false>(channels, (images, places), (&mut *into, &to));
                },
            );
        },
    );
    products
}

/// A map of `[16, tiles, channels]` to a square around each tile of images of `channels`, added to what is there or in its place.
fn from_products<M: RowMap<SIDE, S>, const S: usize, const ADDS: bool>(
    geometry: &Geometry,
    channels: usize,
    products: &[f32],
    images: &mut [f32],
) {
    let count = images.len() / (geometry.positions() * channels);
    let tiles = count * tiles(geometry);
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let images = images;
            for_each_tile(
                geometry.output,
                count,
                channels,
                #[inline(always)]
                |tile, places| {
                    let from = in_products(tile, tiles, channels);
                    transform::<M, SIDE, S, ADDS>(channels, (products, &from), (&mut *images, places));
                },
            );
        },
    );
}

/// Where the sixteen numbers of a tile lie in `[16, tiles, channels]`.
#[inline(always)]
fn in_products(tile: usize, tiles: usize, channels: usize) -> Places<SIDE> {
    let mut places = side_by_side(tiles * channels);
    places.iter_mut().flatten().flatten().for_each(|place| *place += tile * channels);
    places
}

/// For kernels of 3×3 at stride 1.
pub(super) struct ByTiles {
    /// `G₂ w`, `[16, C_in, C_out]`.
    kernels: Buffer,
}

impl ByTiles {
    /// Whether convolutions of this kind are better done by tiles.
    pub fn suits(geometry: &Geometry) -> bool {
        let is_of_kind = geometry.kernel == KERNEL && geometry.stride == 1;
        is_of_kind
            && geometry.channels.iter().all(|c| *c >= FEWEST_CHANNELS)
            && geometry.output.iter().all(|n| *n >= TILE)
    }

    /// From `[3 · 3, C_in, C_out]`.
    pub fn new(taps: &[f32]) -> Self {
        let tap = taps.len() / (KERNEL * KERNEL);
        let mut kernels = Buffer::of(PRODUCTS * tap);
        let into = &mut *kernels;
        Arch::new().dispatch(
            #[inline(always)]
            move || {
                let into = into;
                transform::<Kernel, KERNEL, SIDE, false>(tap, (taps, &side_by_side(tap)), (into, &side_by_side(tap)));
            },
        );
        Self { kernels }
    }
}

/// Tiles of an image.
fn tiles(geometry: &Geometry) -> usize {
    geometry.output.map(|length| length.div_ceil(TILE)).iter().product()
}

/// A square of blocks of `len` numbers, one behind the other.
#[inline(always)]
fn side_by_side<const S: usize>(len: usize) -> Places<S> {
    let mut places = [[None; S]; S];
    for (k, place) in places.iter_mut().flatten().enumerate() {
        *place = Some(k * len);
    }
    places
}

impl Way for ByTiles {
    fn numbers(&self, geometry: &Geometry) -> usize {
        PRODUCTS * tiles(geometry) * (geometry.channels[0] + geometry.channels[1]) / 2
    }

    fn kernel_numbers(&self) -> usize {
        self.kernels.len()
    }

    fn convolve(&self, geometry: &Geometry, images: &[f32], u: &mut [f32]) {
        let [inputs, outputs] = geometry.channels;
        let of_inputs = to_products::<Inputs, SIDE>(geometry, inputs, images);
        let rows = of_inputs.len() / PRODUCTS;
        let mut products = Buffer::of(of_inputs.len() / inputs * outputs);
        let each = of_inputs.chunks_exact(rows).zip(self.kernels.chunks_exact(inputs * outputs));
        let each = each.zip(products.chunks_exact_mut(rows / inputs * outputs));
        for_each(each.collect(), |((rows, kernel), into)| {
            times(Rows::new(rows, inputs), Rows::new(kernel, outputs), into);
        });
        from_products::<Outputs, TILE, false>(geometry, outputs, &products, u);
    }

    fn backward(
        &self,
        geometry: &Geometry,
        images: &[f32],
        gradient: &[f32],
        sums: &mut Vec<Buffer>,
        into: Option<&mut [f32]>,
    ) {
        let [inputs, outputs] = geometry.channels;
        let mut of_inputs = to_products::<Inputs, SIDE>(geometry, inputs, images);
        let of_outputs = to_products::<OutputsBack, TILE>(geometry, outputs, gradient);
        let rows = of_inputs.len() / PRODUCTS;
        let is_first = sums.is_empty();
        if is_first {
            sums.extend((0..PRODUCTS).map(|_| Buffer::of(inputs * outputs)));
        }
        let each = of_inputs.chunks_exact_mut(rows).zip(of_outputs.chunks_exact(rows / inputs * outputs));
        let each = each.zip(self.kernels.chunks_exact(inputs * outputs)).zip(&mut *sums);
        for_each(each.collect(), |(((rows, gradients), kernel), sum)| {
            let gradients = Rows::new(gradients, outputs);
            if is_first {
                transposed_times(Rows::new(rows, inputs), gradients, sum);
            } else {
                add_transposed_times(Rows::new(rows, inputs), gradients, sum);
            }
            if into.is_some() {
                times_transposed(gradients, Rows::new(kernel, outputs), 1.0, rows);
            }
        });
        if let Some(into) = into {
            from_products::<InputsBack, SIDE, true>(geometry, inputs, &of_inputs, into);
        }
    }

    fn taps_gradient(&self, geometry: &Geometry, sums: &[&[Buffer]]) -> Buffer {
        let tap = geometry.channels[0] * geometry.channels[1];
        let mut products = Buffer::zeros(PRODUCTS * tap);
        for_each(products.chunks_exact_mut(tap).enumerate().collect(), |(k, product)| {
            sums.iter().for_each(|of_products| add(&of_products[k], product));
        });
        let mut taps = Buffer::of(KERNEL * KERNEL * tap);
        let (products, into) = (&*products, &mut *taps);
        Arch::new().dispatch(
            #[inline(always)]
            move || {
                let (from, to) = (side_by_side(tap), side_by_side(tap));
                transform::<KernelBack, SIDE, KERNEL, false>(tap, (products, &from), (into, &to));
            },
        );
        taps
    }
}
