//! From pictures to batches.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Settings,
    data::{DataError, Picture, Pictures},
    draws::{Draws, Order},
};

/// Changes of a picture that do not change what it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Augment {
    /// Left and right may change places.
    pub flip: bool,
    /// Turns by right angles, and top and bottom may change places.
    pub turn: bool,
    /// What is cut out may reach so many pixels over the border, which is a mirror there.
    pub shift: usize,
}

/// One batch to learn from; pictures are planar, `[3, patch, patch]` each.
pub(super) struct Samples {
    pub(super) clean: Vec<f32>,
    pub(super) noisy: Vec<f32>,
    pub(super) sigma: Vec<f64>,
    pub(super) classes: Vec<Option<usize>>,
}

impl Samples {
    /// The class of each.
    pub(super) fn labels(&self) -> Result<Vec<usize>, DataError> {
        let class = |(place, class): (usize, &Option<usize>)| {
            class.ok_or_else(|| DataError::NoClass { name: format!("picture {place} of the batch") })
        };
        self.classes.iter().enumerate().map(class).collect()
    }
}

/// Gives the batch of each step, whatever was asked for before.
pub(super) struct Sampler {
    order: Order,
    draws: Draws,
}

impl Sampler {
    pub(super) fn new(seed: u64, pictures: &Pictures) -> Self {
        Self { order: Order::new(seed, pictures.all.len()), draws: Draws::new(seed, "samples") }
    }

    pub(super) fn batch(&mut self, pictures: &Pictures, step: u64, settings: &Settings) -> Samples {
        let (batch, each) = (settings.batch, 3 * settings.patch * settings.patch);
        let first = step * batch as u64;
        let members: Vec<&Picture> =
            (0..batch as u64).map(|i| &pictures.all[self.order.at(first + i)]).collect();
        let mut samples = Samples {
            clean: vec![0.0; batch * each],
            noisy: vec![0.0; batch * each],
            sigma: vec![0.0; batch],
            classes: members.iter().map(|picture| picture.class).collect(),
        };
        let places = samples.clean.par_chunks_exact_mut(each).zip(samples.noisy.par_chunks_exact_mut(each));
        places.zip(&mut samples.sigma).zip(&members).enumerate().for_each(
            |(i, (((clean, noisy), sigma), picture))| {
                let mut rng = self.draws.of(first + i as u64);
                let view = View::draw(picture, settings.patch, settings.augment, &mut rng);
                view.cut(picture, settings.patch, clean);
                *sigma = settings.sigma.at(settings.sigma_law, rng.random());
                add_noise(clean, *sigma, &mut rng, noisy);
            },
        );
        samples
    }
}

/// `clean` plus Gaussian noise; nothing is clipped.
pub(super) fn add_noise(clean: &[f32], sigma: f64, rng: &mut ChaCha8Rng, noisy: &mut [f32]) {
    for (noisy, clean) in noisy.iter_mut().zip(clean) {
        let normal: f32 = StandardNormal.sample(rng);
        *noisy = clean + sigma as f32 * normal;
    }
}

/// Checks that all pictures are what they say, and large enough.
pub(super) fn check_size(pictures: &Pictures, patch: usize) -> Result<(), DataError> {
    let is_whole = |p: &&Picture| {
        let values = p.height.checked_mul(p.width).and_then(|pixels| pixels.checked_mul(3));
        values == Some(p.rgb.len()) && p.class.is_none_or(|class| class < pictures.classes.len())
    };
    if let Some(picture) = pictures.all.iter().find(|p| !is_whole(p)) {
        let reason = "its values are not 3 for each pixel, or its class is none of the set's".into();
        return Err(DataError::Picture { name: picture.name.clone(), reason });
    }
    match pictures.all.iter().find(|p| p.height < patch || p.width < patch) {
        Some(&Picture { ref name, height, width, .. }) => {
            Err(DataError::Small { name: name.clone(), height, width, patch })
        }
        None => Ok(()),
    }
}

/// Where a patch lies, and how it is turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    top: isize,
    left: isize,
    mirror: bool,
    upside_down: bool,
    transpose: bool,
}

impl View {
    /// The middle of a picture, as it is.
    fn middle(picture: &Picture, height: usize, width: usize) -> Self {
        let start = |side: usize, patch: usize| (side - patch) as isize / 2;
        Self {
            top: start(picture.height, height),
            left: start(picture.width, width),
            mirror: false,
            upside_down: false,
            transpose: false,
        }
    }

    fn draw(picture: &Picture, patch: usize, augment: Augment, rng: &mut ChaCha8Rng) -> Self {
        // A mirror shows no more than the picture has.
        let mut start = |side: usize| {
            let over = augment.shift.min(side - 1) as i64;
            rng.random_range(-over..=(side - patch) as i64 + over) as isize
        };
        let (top, left) = (start(picture.height), start(picture.width));
        let [mirror, upside_down, transpose] = [rng.random(), rng.random(), rng.random()];
        let turn = augment.turn;
        Self {
            top,
            left,
            mirror: mirror && (augment.flip || turn),
            upside_down: upside_down && turn,
            transpose: transpose && turn,
        }
    }

    /// Puts the patch into `[3, patch, patch]`, in 0..1.
    fn cut(&self, picture: &Picture, patch: usize, to: &mut [f32]) {
        for y in 0..patch {
            for x in 0..patch {
                let (mut from_y, mut from_x) = if self.transpose { (x, y) } else { (y, x) };
                if self.upside_down {
                    from_y = patch - 1 - from_y;
                }
                if self.mirror {
                    from_x = patch - 1 - from_x;
                }
                let row = reflect(self.top + from_y as isize, picture.height);
                let column = reflect(self.left + from_x as isize, picture.width);
                for c in 0..3 {
                    let value = picture.rgb[(row * picture.width + column) * 3 + c];
                    to[(c * patch + y) * patch + x] = f32::from(value) / 255.0;
                }
            }
        }
    }
}

/// The middle of a picture in planes, at most `most` rows and columns, both multiples of `multiple`.
pub(super) fn middle(picture: &Picture, most: usize, multiple: usize) -> (Vec<f32>, (usize, usize)) {
    let side = |side: usize| side.min(most) / multiple * multiple;
    let (height, width) = (side(picture.height), side(picture.width));
    let View { top, left, .. } = View::middle(picture, height, width);
    let mut planes = Vec::with_capacity(3 * height * width);
    for c in 0..3 {
        for y in 0..height {
            let row = ((y + top as usize) * picture.width + left as usize) * 3;
            let row = &picture.rgb[row..row + 3 * width];
            planes.extend(row.iter().skip(c).step_by(3).map(|v| f32::from(*v) / 255.0));
        }
    }
    (planes, (height, width))
}

/// The pixel that a mirror on the border shows.
fn reflect(at: isize, side: usize) -> usize {
    let last = side as isize - 1;
    let at = at.abs();
    (if at > last { 2 * last - at } else { at }).clamp(0, last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(height: usize, width: usize) -> Picture {
        let rgb = (0..height * width * 3).map(|i| i as u8).collect();
        Picture { name: "p".into(), height, width, rgb, class: None }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "values are moved, not computed")]
    fn a_patch_is_a_part_of_the_picture_turned_as_allowed() {
        let picture = picture(5, 6);
        let value = |y: usize, x: usize, c: usize| ((y * 6 + x) * 3 + c) as f32 / 255.0;
        let view = View { top: 1, left: 2, mirror: false, upside_down: false, transpose: false };
        let cut = |view: View| {
            let mut to = vec![0.0; 3 * 9];
            view.cut(&picture, 3, &mut to);
            to
        };
        assert_eq!(cut(view)[9 + 3 + 2], value(2, 4, 1));
        assert_eq!(cut(View { mirror: true, ..view })[0], value(1, 4, 0));
        assert_eq!(cut(View { upside_down: true, ..view })[0], value(3, 2, 0));
        assert_eq!(cut(View { transpose: true, ..view })[1], value(2, 2, 0));
        assert_eq!(cut(View { top: -1, left: 4, ..view })[0], value(1, 4, 0));
        assert_eq!(cut(View { top: -1, left: 4, ..view })[2], value(1, 4, 0));

        let (planes, size) = middle(&picture, 4, 2);
        assert_eq!((size, planes.len()), ((4, 4), 48));
        assert_eq!([planes[0], planes[16 + 5]], [value(0, 1, 0), value(1, 2, 1)]);
    }

    #[test]
    fn augmentation_keeps_to_what_is_allowed() {
        let picture = picture(8, 8);
        let draw = |augment, number| View::draw(&picture, 4, augment, &mut Draws::new(1, "t").of(number));
        let views = |augment| (0..200).map(|n| draw(augment, n)).collect::<Vec<View>>();
        let plain = views(Augment::default());
        assert!(plain.iter().all(|v| !v.mirror && !v.upside_down && !v.transpose));
        assert!(plain.iter().all(|v| (0..=4).contains(&v.top) && (0..=4).contains(&v.left)));
        let shifted = views(Augment { flip: true, turn: false, shift: 2 });
        assert!(shifted.iter().any(|v| v.top == -2) && shifted.iter().any(|v| v.left == 6));
        assert!(shifted.iter().any(|v| v.mirror) && shifted.iter().all(|v| !v.transpose && !v.upside_down));
        assert!(views(Augment { turn: true, ..Augment::default() }).iter().any(|v| v.transpose && v.mirror));
        // Even a mirror as large as the picture shows only what there is.
        let far = Augment { shift: 100, ..Augment::default() };
        let mut to = vec![0.0; 48];
        (0..200).for_each(|n| draw(far, n).cut(&picture, 4, &mut to));
    }

    #[test]
    fn noise_has_the_deviation_that_was_asked_for() {
        let clean = vec![0.5; 100_000];
        let mut noisy = clean.clone();
        add_noise(&clean, 0.25, &mut Draws::new(3, "n").of(0), &mut noisy);
        let mean = noisy.iter().map(|v| f64::from(*v)).sum::<f64>() / 1e5;
        let variance = noisy.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.005 && (variance.sqrt() - 0.25).abs() < 0.005, "{mean} {variance}");
    }
}
