//! Credentials against recorded requests, published vectors and stand-ins for the token services.

#[cfg(test)]
mod aws;
#[cfg(test)]
mod azure;
#[cfg(test)]
mod common;
#[cfg(test)]
mod google;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod sigv4;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
