//! Operations on some images of a batch.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Applies `operation` to each group of images; the others keep their values bit for bit.
///
/// # Shapes
/// `images` is `[n, c, h, w]` and so is the result; the indices of all groups together are distinct.
pub(super) fn map_groups(
    images: Tensor<4>,
    groups: &[Vec<usize>],
    operation: impl Fn(Tensor<4>, usize) -> Tensor<4>,
) -> Tensor<4> {
    let count = images.dims()[0];
    let device = images.device();
    let occupied: Vec<usize> = (0..groups.len()).filter(|&group| !groups[group].is_empty()).collect();
    match occupied[..] {
        [] => return images,
        // All images in one group and in order: nothing to gather.
        [group] if groups[group].len() == count && groups[group].is_sorted() => return operation(images, group),
        _ => {}
    }
    // Row `origin[i]` of the untouched images followed by the groups is image `i` of the result.
    let mut origin: Vec<usize> = (0..count).collect();
    let mut parts = vec![images.clone()];
    let mut next = count;
    for &group in &occupied {
        for &image in &groups[group] {
            origin[image] = next;
            next += 1;
        }
        let members = images.clone().select(0, indices(&groups[group], &device));
        parts.push(operation(members, group));
    }
    Tensor::cat(parts, 0).select(0, indices(&origin, &device))
}

/// Applies `operation` to the images that are marked; the others keep their values bit for bit.
///
/// # Panics
/// When there is not one mark per image.
pub(super) fn map_marked(
    images: Tensor<4>,
    marks: impl ExactSizeIterator<Item = bool>,
    operation: impl Fn(Tensor<4>, &[usize]) -> Tensor<4>,
) -> Tensor<4> {
    require_one_each(&images, marks.len());
    let marked: Vec<usize> = marks.enumerate().filter_map(|(image, marked)| marked.then_some(image)).collect();
    let groups = [marked];
    map_groups(images, &groups, |images, _| operation(images, &groups[0]))
}

/// One number per image, `[n, 1, 1, 1]`.
pub(super) fn per_image(values: Vec<f32>, device: &Device) -> Tensor<4> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count, 1, 1, 1]), device)
}

/// Panics unless there are as many parameters as images.
pub(super) fn require_one_each(images: &Tensor<4>, parameters: usize) {
    let dims = images.dims();
    assert_eq!(dims[0], parameters, "images of shape {dims:?}, but parameters for {parameters} images");
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_mapped_and_the_rest_stays_in_its_place() {
        let images = Tensor::<4>::from_data(TensorData::new(vec![1f32, 2., 3., 4., 5.], [5, 1, 1, 1]), &Device::flex());
        let mapped = map_groups(images, &[vec![4, 1], vec![], vec![2]], |x, group| x * 10f32.powi(group as i32 + 1));
        assert_eq!(mapped.into_data().try_to_vec::<f32>().unwrap(), [1., 20., 3000., 4., 50.]);
    }

    #[test]
    fn a_group_out_of_order_keeps_each_image_in_its_place() {
        let images = Tensor::<4>::from_data(TensorData::new(vec![1f32, 2., 3.], [3, 1, 1, 1]), &Device::flex());
        let mapped = map_groups(images, &[vec![2, 0, 1]], |x, _| {
            x + Tensor::from_data(TensorData::new(vec![10f32, 20., 30.], [3, 1, 1, 1]), &Device::flex())
        });
        assert_eq!(mapped.into_data().try_to_vec::<f32>().unwrap(), [21., 32., 13.]);
    }
}
