//! The arithmetic of [`super`] on the matrix tiles (AMX) of Intel's processors: 16 outputs x 32 numbers times 32 numbers x 16 channels in one
//! instruction.
//!
//! Rust has no intrinsics for tiles, so whole products are written in assembly: each block begins with sums that are the bias and ends with
//! its sums in memory. What is left of the work (addition, rectifier, rounding) is done by vectors, for one product
//! while the tiles are busy with the next: a function that the next one's block calls.

use std::{
    arch::{
        asm,
        x86_64::{
            __m256bh, __m256i, __m512, __m512bh, __m512i, _CMP_GE_OQ, _CMP_NLT_UQ, _mm256_loadu_si256,
            _mm256_storeu_si256, _mm512_abs_ps, _mm512_add_ps, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
            _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_load_ps,
            _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_min_ps, _mm512_set1_ps, _mm512_setzero_ps,
            _mm512_slli_epi32, _mm512_storeu_ps, _mm512_storeu_si512,
        },
    },
    mem,
    ops::Range,
    sync::OnceLock,
};

use super::{SMALLEST, STEP, steps, weights};
use crate::{
    graph::{Activation, Conv},
    kernels::{
        buffer::Buffer,
        layout::{CHANNELS, Cell, Job, Layout},
        shape::Shape,
    },
};

/// Most rows of a tile: outputs side by side.
const TILE: usize = 16;
/// Numbers, and bytes, of a full tile of weights.
const TILE_NUMBERS: usize = STEP * CHANNELS;
/// Sums of a full tile.
const TILE_SUMS: usize = TILE * CHANNELS;
/// Tiles of sums at a time.
const HELD: usize = 4;
/// Floats of bias before the weights of a pair of tiles of channels.
const BIAS: usize = 2 * CHANNELS;
/// Most tiles of outputs in an item of work: enough to be worth reading the weights anew, few enough that their inputs stay near.
const BLOCK: usize = 56;

/// Whether the processor has tiles for bf16 and the system lets this process use them.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let vectors = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
        vectors && has_tiles() && permitted()
    })
}

/// Whether the processor has tiles with bf16, and the system saves them at a change of threads.
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const TILE_STATES: u64 = 0b11 << 17;
    #[target_feature(enable = "xsave")]
    fn states() -> u64 {
        // SAFETY: the function's feature is that of the instruction; register 0 always exists.
        unsafe { _xgetbv(0) }
    }
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    // SAFETY: OSXSAVE says that the instruction is there.
    features & AMX_BF16 != 0 && features & AMX_TILE != 0 && unsafe { states() } & TILE_STATES == TILE_STATES
}

/// Asks the system for the large registers, which Linux gives only to those who ask (its documentation: `x86/xstate`). Holds
/// for all threads of the process.
fn permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: a system call that reads two numbers and touches no memory of ours; the kernel changes rax, rcx and r11 only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Packed weights of one convolution.
pub(in crate::kernels) struct Tiles {
    shape: Shape,
    split: bool,
    /// Tiles of output channels.
    outs: usize,
    /// For each of the interleaved grids and each pair of tiles of channels, a single one last: the bias, 32 floats, then bf16 numbers `[rows *
    /// steps, 1 or 2 tiles, 16 pairs of numbers, 16 channels, 2]`.
    weights: Buffer,
}

impl Tiles {
    /// Packs for an input with `channels` numbers a pixel, which are `split` or not.
    pub(super) fn new(conv: &Conv, channels: usize, split: bool) -> Self {
        let shape = Shape::of(conv, channels);
        let outs = conv.out_channels.div_ceil(CHANNELS);
        let mut this = Self { shape, split, outs, weights: Buffer::zeroed(0) };
        this.weights = Buffer::zeroed(this.place(shape.grids(), 0));
        this.pack(conv);
        this
    }

    /// Where the floats of a pair of tiles of channels begin.
    fn place(&self, grid: usize, pair: usize) -> usize {
        let tile = self.shape.rows * steps(&self.shape) * TILE_NUMBERS / 2;
        let of_grid = self.outs * tile + self.outs.div_ceil(2) * BIAS;
        grid * of_grid + pair * tile + pair / 2 * BIAS
    }

    /// Takes new weights for the same convolution.
    pub(super) fn pack(&mut self, conv: &Conv) {
        for (grid, (out, bias)) in
            (0..self.shape.grids()).flat_map(|g| conv.bias.iter().enumerate().map(move |b| (g, b)))
        {
            let at = self.place(grid, out / BIAS * 2) + out % BIAS;
            self.weights.as_mut_slice()[at] = super::large(*bias);
        }
        for (to, value) in weights(conv, self.shape, self.split) {
            let tile = to.out / CHANNELS;
            let pair = tile - tile % 2;
            let width = (self.outs - pair).min(2);
            let tile = (to.step * width + tile % 2) * TILE_NUMBERS / 2;
            // A place of 32 bits holds two numbers, the one of even place in the lower half.
            let at = self.place(to.grid, pair) + BIAS + tile + to.place / 2 * CHANNELS + to.out % CHANNELS;
            let shift = 16 * (to.place % 2) as u32;
            let both = &mut self.weights.as_mut_slice()[at];
            *both = f32::from_bits(both.to_bits() & !(0xFFFF << shift) | u32::from(value.to_bits()) << shift);
        }
    }

    /// Tiles of outputs of one picture.
    pub(super) fn units(&self, to: &Layout) -> usize {
        Grid::of(&self.shape, to).tiles
    }

    /// Tiles of one picture whose outputs all lie in the first rows.
    pub(super) fn units_within(&self, to: &Layout, rows: usize) -> usize {
        let grid = Grid::of(&self.shape, to);
        if grid.columns == grid.tiles {
            // The last of these rows may end where its line goes on.
            (rows * grid.pitch / grid.side).min(grid.tiles)
        } else {
            rows / self.shape.upscale * grid.columns
        }
    }

    /// Rows of outputs of one picture that the first tiles make complete.
    pub(super) fn rows(&self, to: &Layout, units: usize) -> usize {
        let grid = Grid::of(&self.shape, to);
        if grid.columns == grid.tiles {
            units * grid.side / grid.pitch
        } else {
            units / grid.columns * self.shape.upscale
        }
    }

    /// How many tiles of outputs make one item of work: few items are dealt out evenly, in pairs.
    pub(super) fn block(&self, to: &Layout, threads: usize) -> usize {
        let tiles = to.pictures * Grid::of(&self.shape, to).tiles;
        let items = tiles.div_ceil(BLOCK);
        if items < 4 * threads {
            tiles.div_ceil(items.next_multiple_of(threads)).next_multiple_of(2)
        } else {
            BLOCK
        }
    }

    /// Floats of scratch memory: the sums of two products.
    pub(super) fn scratch() -> usize {
        2 * HELD * TILE_SUMS
    }

    /// Computes the tiles of outputs of these numbers, counted through all pictures; for the transposed convolution those that belong to these
    /// tiles of the input.
    ///
    /// # Safety
    /// [`available`]; `job` is as [`Job`] says, fits the convolution, its input is in [`Cell::Bf16`] and has a tail
    /// (`Layout::tail`); `units` is within the pictures; `scratch` is good for [`Tiles::scratch`] and of no concern to other threads;
    /// no other thread reads or writes these outputs, or writes the input.
    pub(super) unsafe fn compute(&self, job: &Job, units: Range<usize>, scratch: *mut f32) {
        // SAFETY: as the caller promises; these are the features that `available` asks for.
        unsafe { self.run(job, units, scratch) }
    }

    /// [`Tiles::compute`].
    ///
    /// # Safety
    /// As there.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn run(&self, job: &Job, units: Range<usize>, scratch: *mut f32) {
        let grid = Grid::of(&self.shape, &job.to_layout);
        let walk = Walk {
            pixel: 2 * self.shape.stride * job.from_layout.channels,
            row: 2 * job.from_layout.row(),
            rows: self.shape.rows,
            steps: steps(&self.shape),
        };
        // SAFETY: tiles are configured before the first product and given back after the last; products read the outputs' inputs, and
        // beyond them what the tail allows for; their sums go to alternating halves of the scratch memory, from which the one before
        // is finished meanwhile.
        unsafe {
            configure(grid.side as u8);
            let mut before = Product::none(job, &grid, self.shape.upscale);
            let mut half = 0;
            for part in 0..self.shape.grids() * self.outs.div_ceil(2) {
                let (place, pair) = (part / self.outs.div_ceil(2), part % self.outs.div_ceil(2) * 2);
                let (dy, dx) = (place / self.shape.upscale, place % self.shape.upscale);
                let weights = self.weights.as_ptr().add(self.place(place, pair)).cast_const().cast();
                let wide = pair + 2 <= self.outs;
                let most = if wide { HELD / 2 } else { HELD };
                let mut unit = units.start;
                while unit < units.end {
                    let count = most.min(units.end - unit);
                    let sums = scratch.add(half * HELD * TILE_SUMS);
                    let mut product = Product { sums, count, wide, ..before };
                    let mut from = [std::ptr::null::<u16>(); HELD];
                    for (i, from) in from.iter_mut().enumerate().take(count) {
                        let (picture, y, x, count) = grid.unit(unit + i);
                        let Shape { stride, offset, upscale, .. } = self.shape;
                        let input = job.from_layout.at(picture, y * stride + offset, offset);
                        *from = job.from.cast::<u16>().add(input + x * stride * job.from_layout.channels);
                        let output = job.to_layout.at(picture, y * upscale + dy + 1, dx + 1);
                        let to = output + x * upscale * job.to_layout.channels + pair * CHANNELS;
                        product.outputs[i] = Outputs { to, x: x % grid.pitch, count };
                    }
                    match (wide, count) {
                        (true, 2) => multiply_2x2(&walk, from, weights, sums, &before),
                        (true, _) => multiply_1x2(&walk, from, weights, sums, &before),
                        (false, 4) => multiply_4x1(&walk, from, weights, sums, &before),
                        (false, 3) => multiply_3x1(&walk, from, weights, sums, &before),
                        (false, 2) => multiply_2x1(&walk, from, weights, sums, &before),
                        (false, _) => multiply_1x1(&walk, from, weights, sums, &before),
                    }
                    before = product;
                    half = 1 - half;
                    unit += count;
                }
            }
            before.finish();
            release();
        }
    }
}

/// The outputs of a picture cut into tiles. A tile is up to 16 outputs side by side: of one row, or, where that makes fewer, of all the picture's
/// rows with the borders between them, which are computed and thrown away.
struct Grid {
    /// Tiles of a picture.
    tiles: usize,
    /// Tiles of a line: of a row or of all rows.
    columns: usize,
    /// Outputs of a tile.
    side: usize,
    /// Outputs of a line.
    line: usize,
    /// Outputs of a row.
    width: usize,
    /// Outputs from row to row of a line; without end where a line has one row.
    pitch: usize,
}

impl Grid {
    /// For outputs of this layout.
    fn of(shape: &Shape, to: &Layout) -> Self {
        let (height, width) = (to.height / shape.upscale, to.width / shape.upscale);
        let tiles = |line: usize| line.div_ceil(TILE).max(1);
        let side = |line: usize| line.div_ceil(tiles(line));
        let by_row = tiles(width);
        // With stride 1 the borders of input and output are alike.
        let pitch = to.row() / to.channels;
        let line = (height.max(1) - 1) * pitch + width;
        if shape.upscale == 1 && shape.stride == 1 && tiles(line) < height * by_row {
            Self { tiles: tiles(line), columns: tiles(line), side: side(line), line, width, pitch }
        } else {
            let (line, pitch) = (width, usize::MAX);
            Self { tiles: height * by_row, columns: by_row, side: side(width), line, width, pitch }
        }
    }

    /// Picture, first row of the line, and place in the line of a tile's first output, and how many outputs there are.
    fn unit(&self, unit: usize) -> (usize, usize, usize, usize) {
        let (picture, tile) = (unit / self.tiles, unit % self.tiles);
        let (line, column) = (tile / self.columns, tile % self.columns);
        let x = column * self.side;
        (picture, line, x, self.side.min(self.line - x))
    }
}

/// How a product goes through its input: bytes and counts.
struct Walk {
    /// Bytes from output to output.
    pixel: usize,
    /// Bytes from kernel row to kernel row.
    row: usize,
    rows: usize,
    /// Of one kernel row.
    steps: usize,
}

/// The sums of some tiles, on their way to memory.
#[derive(Clone, Copy)]
struct Product<'a> {
    job: &'a Job,
    grid: &'a Grid,
    upscale: usize,
    sums: *const f32,
    /// Tiles of outputs.
    count: usize,
    /// Whether two tiles of channels, or one.
    wide: bool,
    outputs: [Outputs; HELD],
}

/// Where the outputs of a tile go.
#[derive(Clone, Copy, Default)]
struct Outputs {
    /// The first one.
    to: usize,
    /// Its place in its row; beyond the row's width lies the border.
    x: usize,
    count: usize,
}

impl<'a> Product<'a> {
    /// Of no tiles.
    fn none(job: &'a Job, grid: &'a Grid, upscale: usize) -> Self {
        let (sums, outputs) = (std::ptr::null(), [Outputs::default(); HELD]);
        Self { job, grid, upscale, sums, count: 0, wide: false, outputs }
    }

    /// Adds the residual, rectifies, rounds and stores.
    ///
    /// # Safety
    /// The sums are there, the outputs and residuals are within the job's buffers, and nobody else uses these outputs.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn finish(&self) {
        let Self { job, grid, upscale, .. } = *self;
        let tiles = if self.wide { 2 } else { 1 };
        for (i, outputs) in self.outputs[..self.count].iter().enumerate() {
            let (mut done, mut x) = (0, outputs.x);
            while done < outputs.count {
                let left = outputs.count - done;
                let run = if x < grid.width {
                    let run = left.min(grid.width - x);
                    let first = Run {
                        sums: self.sums.wrapping_add(i * tiles * TILE_SUMS + done * CHANNELS),
                        at: outputs.to + done * upscale * job.to_layout.channels,
                        step: upscale * job.to_layout.channels,
                        count: run,
                    };
                    // SAFETY: these outputs lie in one row of the picture, and the caller promises the rest.
                    unsafe { first.finish(job, self.wide) };
                    run
                } else {
                    left.min(grid.pitch - x)
                };
                done += run;
                x += run;
                if x == grid.pitch {
                    x = 0;
                }
            }
        }
    }
}

/// [`Product::finish`], to be called from assembly.
///
/// # Safety
/// `product` is valid, and as there.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe extern "sysv64" fn finish(product: *const Product<'_>) {
    // SAFETY: as the caller promises.
    unsafe { (*product).finish() }
}

/// Outputs of a tile that lie side by side in one row of the picture.
struct Run {
    /// Of the first tile of channels; those of the second are a tile further.
    sums: *const f32,
    /// The first output.
    at: usize,
    /// From output to output.
    step: usize,
    count: usize,
}

impl Run {
    /// Chooses the code.
    ///
    /// # Safety
    /// As [`Product::finish`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn finish(&self, job: &Job, wide: bool) {
        // SAFETY: as the caller promises.
        unsafe {
            match (wide && job.to_layout.cell == Cell::Bf16, job.residual.is_null(), job.activation) {
                (true, true, Activation::Relu) => self.pairs::<false, true>(job),
                (true, false, Activation::Relu) => self.pairs::<true, true>(job),
                (true, true, Activation::None) => self.pairs::<false, false>(job),
                (true, false, Activation::None) => self.pairs::<true, false>(job),
                _ => self.any(job, wide),
            }
        }
    }

    /// Two tiles of channels, rounded, the most frequent case.
    ///
    /// # Safety
    /// As [`Product::finish`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn pairs<const RESIDUAL: bool, const RELU: bool>(&self, job: &Job) {
        // SAFETY: a tile's sums are sixteen floats a row and aligned; channels are padded to whole tiles, so both vectors of an output
        // exist; the caller promises the rest.
        unsafe {
            for output in 0..self.count {
                let at = self.at + output * self.step;
                let mut both =
                    [0, 1].map(|tile| _mm512_load_ps(self.sums.add(tile * TILE_SUMS + output * CHANNELS)));
                for (tile, v) in both.iter_mut().enumerate() {
                    if RESIDUAL {
                        *v = _mm512_add_ps(*v, residual(job, at + tile * CHANNELS));
                    }
                    *v = if RELU { positive(*v) } else { large(*v) };
                }
                let both = _mm512_cvtne2ps_pbh(both[1], both[0]);
                let to = job.to.cast::<u16>().add(at);
                // The two types are the same 512 bits.
                _mm512_storeu_si512(to.cast(), mem::transmute::<__m512bh, __m512i>(both));
            }
        }
    }

    /// Whatever it is.
    ///
    /// # Safety
    /// As [`Product::finish`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn any(&self, job: &Job, wide: bool) {
        // SAFETY: as in `pairs`.
        unsafe {
            for (output, tile) in
                (0..self.count).flat_map(|output| (0..=usize::from(wide)).map(move |tile| (output, tile)))
            {
                let at = self.at + output * self.step + tile * CHANNELS;
                let mut v = _mm512_load_ps(self.sums.add(tile * TILE_SUMS + output * CHANNELS));
                if !job.residual.is_null() {
                    v = _mm512_add_ps(v, residual(job, at));
                }
                if job.activation != Activation::None {
                    v = _mm512_max_ps(v, _mm512_setzero_ps());
                }
                if job.activation == Activation::Relu6 {
                    v = _mm512_min_ps(v, _mm512_set1_ps(Activation::Relu6.ceiling()));
                }
                if job.to_layout.cell == Cell::Bf16 {
                    // The two types are the same 256 bits.
                    let rounded = mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(large(v)));
                    _mm256_storeu_si256(job.to.cast::<u16>().add(at).cast(), rounded);
                } else {
                    _mm512_storeu_ps(job.to.add(at), v);
                }
            }
        }
    }
}

/// Sixteen numbers of the residual.
///
/// # Safety
/// They exist.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn residual(job: &Job, at: usize) -> __m512 {
    // SAFETY: as the caller promises.
    let numbers = unsafe { _mm256_loadu_si256(job.residual.cast::<u16>().add(at).cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(numbers)))
}

/// [`super::large`]; the conversion to bf16 does the rest of [`super::round`].
#[inline]
#[target_feature(enable = "avx512f")]
fn large(v: __m512) -> __m512 {
    let large = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(v), _mm512_set1_ps(SMALLEST));
    _mm512_maskz_mov_ps(large, v)
}

/// The same of what a rectifier leaves.
#[inline]
#[target_feature(enable = "avx512f")]
fn positive(v: __m512) -> __m512 {
    let large = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(v, _mm512_set1_ps(SMALLEST));
    _mm512_maskz_mov_ps(large, v)
}

/// What a tile is: rows, and bytes of a row.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tiles 0 to 3 hold sums and 4 and 5 inputs of `side` outputs, 6 and 7 weights.
///
/// # Safety
/// [`available`].
unsafe fn configure(side: u8) {
    let mut configuration =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
    configuration.bytes[..8].fill(64);
    configuration.rows[..6].fill(side);
    configuration.rows[6..8].fill(TILE as u8);
    // SAFETY: a valid configuration of 64 bytes; the compiler does not use tiles.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly));
    }
}

/// Gives the tiles back, so that a change of threads need not save them.
///
/// # Safety
/// [`available`].
unsafe fn release() {
    // SAFETY: no tile is in use.
    unsafe { asm!("tilerelease", options(nostack, nomem)) }
}

/// The product of some tiles of outputs, whose registers are `$inputs`, and one or two tiles of channels; the rest are instructions.
macro_rules! multiply {
    ($(#[$about:meta])* $name:ident, [$($input:literal),+], $weights:literal,
     [$($begin:literal),+], [$($step:literal),+], [$($store:literal),+]) => {
        $(#[$about])*
        ///
        /// The product before is finished after the last instruction for tiles was given out and before the sums are stored: vectors work while
        /// the tiles do, and the sums, which fill the processor's queue of stores, do not wait in front of it.
        ///
        /// # Safety
        /// [`configure`]d; `from` is readable along the walk for all rows of a tile, `weights` for the bias and as many steps, and `sums` writable for
        /// the tiles; for `before` as for [`finish`], and its sums are elsewhere.
        #[inline]
        unsafe fn $name(walk: &Walk, from: [*const u16; HELD], weights: *const u8, sums: *mut f32, before: &Product<'_>) {
            // SAFETY: as the caller promises. The block reads inputs and weights, and writes the sums; all registers that it or the function it calls
            // changes are named. The function is compiled without the features that would let it use tiles, so they are still there
            // afterwards.
            unsafe {
                asm!(
                    // All rows of the sums begin with the bias: a load with no way from row to row.
                    "xor edi, edi",
                    $($begin,)+
                    "add rsi, 128",
                    "2:",
                    "mov rdi, rax",
                    "3:",
                    $($step,)+
                    $(concat!("add ", $input, ", 64"),)+
                    concat!("add rsi, ", $weights),
                    "dec rdi",
                    "jnz 3b",
                    $(concat!("add ", $input, ", r14"),)+
                    "dec r15",
                    "jnz 2b",
                    "mov rdi, r13",
                    "call {finish}",
                    "mov ecx, 64",
                    $($store,)+
                    finish = sym finish,
                    inout("r8") from[0] => _,
                    inout("r9") from[1] => _,
                    inout("r10") from[2] => _,
                    inout("r11") from[3] => _,
                    inout("rsi") weights => _,
                    inout("rdx") walk.pixel => _,
                    inout("rcx") 64_usize => _,
                    inout("rax") walk.steps => _,
                    out("rdi") _,
                    in("r12") sums,
                    in("r13") &raw const *before,
                    in("r14") walk.row.wrapping_sub(64 * walk.steps),
                    inout("r15") walk.rows => _,
                    clobber_abi("sysv64"),
                );
            }
        }
    };
}

multiply!(
    /// Two tiles of outputs, two of channels: four loads for four products.
    multiply_2x2, ["r8", "r9"], "2048",
    [
        "tileloadd tmm0, [rsi + rdi]",
        "tileloadd tmm1, [rsi + rdi + 64]",
        "tileloadd tmm2, [rsi + rdi]",
        "tileloadd tmm3, [rsi + rdi + 64]"
    ],
    [
        "tileloadd tmm4, [r8 + rdx]",
        "tileloadd tmm6, [rsi + rcx]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [rsi + rcx + 1024]",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "tileloadd tmm5, [r9 + rdx]",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7"
    ],
    [
        "tilestored [r12 + rcx], tmm0",
        "tilestored [r12 + rcx + 1024], tmm1",
        "tilestored [r12 + rcx + 2048], tmm2",
        "tilestored [r12 + rcx + 3072], tmm3"
    ]
);

multiply!(
    /// One tile of outputs, two of channels.
    multiply_1x2, ["r8"], "2048",
    [
        "tileloadd tmm0, [rsi + rdi]",
        "tileloadd tmm1, [rsi + rdi + 64]"
    ],
    [
        "tileloadd tmm4, [r8 + rdx]",
        "tileloadd tmm6, [rsi + rcx]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [rsi + rcx + 1024]",
        "tdpbf16ps tmm1, tmm4, tmm7"
    ],
    [
        "tilestored [r12 + rcx], tmm0",
        "tilestored [r12 + rcx + 1024], tmm1"
    ]
);

multiply!(
    /// Four tiles of outputs, one of channels.
    multiply_4x1, ["r8", "r9", "r10", "r11"], "1024",
    [
        "tileloadd tmm0, [rsi + rdi]",
        "tileloadd tmm1, [rsi + rdi]",
        "tileloadd tmm2, [rsi + rdi]",
        "tileloadd tmm3, [rsi + rdi]"
    ],
    [
        "tileloadd tmm4, [r8 + rdx]",
        "tileloadd tmm6, [rsi + rcx]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm5, [r9 + rdx]",
        "tdpbf16ps tmm1, tmm5, tmm6",
        "tileloadd tmm4, [r10 + rdx]",
        "tdpbf16ps tmm2, tmm4, tmm6",
        "tileloadd tmm5, [r11 + rdx]",
        "tdpbf16ps tmm3, tmm5, tmm6"
    ],
    [
        "tilestored [r12 + rcx], tmm0",
        "tilestored [r12 + rcx + 1024], tmm1",
        "tilestored [r12 + rcx + 2048], tmm2",
        "tilestored [r12 + rcx + 3072], tmm3"
    ]
);

multiply!(
    /// Three tiles of outputs, one of channels.
    multiply_3x1, ["r8", "r9", "r10"], "1024",
    [
        "tileloadd tmm0, [rsi + rdi]",
        "tileloadd tmm1, [rsi + rdi]",
        "tileloadd tmm2, [rsi + rdi]"
    ],
    [
        "tileloadd tmm4, [r8 + rdx]",
        "tileloadd tmm6, [rsi + rcx]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm5, [r9 + rdx]",
        "tdpbf16ps tmm1, tmm5, tmm6",
        "tileloadd tmm4, [r10 + rdx]",
        "tdpbf16ps tmm2, tmm4, tmm6"
    ],
    [
        "tilestored [r12 + rcx], tmm0",
        "tilestored [r12 + rcx + 1024], tmm1",
        "tilestored [r12 + rcx + 2048], tmm2"
    ]
);

multiply!(
    /// Two tiles of outputs, one of channels.
    multiply_2x1, ["r8", "r9"], "1024",
    [
        "tileloadd tmm0, [rsi + rdi]",
        "tileloadd tmm1, [rsi + rdi]"
    ],
    [
        "tileloadd tmm4, [r8 + rdx]",
        "tileloadd tmm6, [rsi + rcx]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm5, [r9 + rdx]",
        "tdpbf16ps tmm1, tmm5, tmm6"
    ],
    [
        "tilestored [r12 + rcx], tmm0",
        "tilestored [r12 + rcx + 1024], tmm1"
    ]
);

multiply!(
    /// One tile of outputs, one of channels.
    multiply_1x1, ["r8"], "1024",
    [
        "tileloadd tmm0, [rsi + rdi]"
    ],
    [
        "tileloadd tmm4, [r8 + rdx]",
        "tileloadd tmm6, [rsi + rcx]",
        "tdpbf16ps tmm0, tmm4, tmm6"
    ],
    [
        "tilestored [r12 + rcx], tmm0"
    ]
);

/// Products with nothing else to do: so many rounds of four; gives the number of multiplications and additions. Only where [`available`].
pub(in crate::kernels) fn probe(rounds: u32) -> f64 {
    // SAFETY: tiles are configured before and given back after; the block uses no memory and names what it changes. Whatever the tiles
    // hold is a number to it.
    unsafe {
        configure(TILE as u8);
        asm!(
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) u64::from(rounds.max(1)) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, nomem),
        );
        release();
    }
    f64::from(rounds.max(1)) * 4.0 * (2 * TILE * CHANNELS * STEP) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiles begin within their line, and reach beyond it by less than the zeros after the last picture ([`Layout::tail`]).
    #[test]
    fn tiles_cover_all_outputs() {
        for (height, width) in (1..40).flat_map(|h| [h * 7 % 13 + 1, h, 16 * h + 1].map(|w| (h, w))) {
            for (stride, upscale) in [(1, 1), (2, 1), (1, 2)] {
                let shape = Shape { rows: 1, run: 16, stride, offset: 0, upscale };
                let (h, w) = (height * upscale, width * upscale);
                let to = Layout { pictures: 2, height: h, width: w, channels: 16, cell: Cell::Bf16 };
                let grid = Grid::of(&shape, &to);
                assert!(grid.side <= TILE);
                let mut seen = vec![0; 2 * height * width];
                for unit in 0..2 * grid.tiles {
                    let (picture, y, x, count) = grid.unit(unit);
                    assert!(x < grid.line && (1..=grid.side).contains(&count) && grid.side - count < TILE);
                    for i in x..x + count {
                        if i % grid.pitch < width {
                            let row = y + i / grid.pitch;
                            seen[(picture * height + row) * width + i % grid.pitch] += 1;
                        }
                    }
                }
                assert!(seen.iter().all(|n| *n == 1), "{height}x{width}, {stride}, {upscale}");
            }
        }
    }
}
