//! Images agents attach: told apart by their bytes, never by what they are said to be.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use holdpoint_api::Limits;
use holdpoint_store::{ImageType, NewImage};

/// Why an image was refused. Goes to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("`images[{0}]` is not base64, bare or as a data URI")]
    NotBase64(usize),
    #[error("`images[{0}]` is none of PNG, JPEG, GIF and WebP")]
    UnknownType(usize),
    #[error("`images[{index}]` is larger than {bytes} bytes")]
    TooLarge { index: usize, bytes: usize },
}

/// Agents differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn decode_all(images: &[String], limits: &Limits) -> Result<Vec<NewImage>, ImageError> {
    images.iter().enumerate().map(|(index, text)| decode(index, text, limits)).collect()
}

fn decode(index: usize, text: &str, limits: &Limits) -> Result<NewImage, ImageError> {
    let encoded = bare(text).ok_or(ImageError::NotBase64(index))?;
    let too_large = ImageError::TooLarge { index, bytes: limits.image_bytes };
    // Four characters are three bytes: refused before anything is decoded.
    if encoded.len() / 4 * 3 > limits.image_bytes.saturating_add(3) {
        return Err(too_large);
    }
    let bytes = BASE64.decode(encoded).map_err(|_| ImageError::NotBase64(index))?;
    if bytes.len() > limits.image_bytes {
        return Err(too_large);
    }
    let image_type = type_of(&bytes).ok_or(ImageError::UnknownType(index))?;
    Ok(NewImage { image_type, bytes })
}

/// The base64 itself. What a data URI says of its type is not believed.
fn bare(text: &str) -> Option<&str> {
    match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => {
            let (head, encoded) = text.get(5..)?.split_once(',')?;
            head.to_ascii_lowercase().ends_with(";base64").then_some(encoded)
        }
        Some(_) | None => Some(text),
    }
}

fn type_of(bytes: &[u8]) -> Option<ImageType> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(ImageType::Png)
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some(ImageType::Jpeg)
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some(ImageType::Gif)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some(ImageType::Webp)
    } else {
        None
    }
}
