//! Fuzz targets of the wire formats. What they do is in [`drive`], which the ordinary tests run too.

pub mod drive;
