//! Tests of the statistics as a whole: against vectors computed elsewhere, for properties that hold for every
//! input, and by simulation of the error they promise.

mod cases;
mod exact;
mod extremes;
mod false_certificates;
mod importance;
mod joint;
mod pipeline;
mod properties;
mod simulation;
mod tables;
mod vectors;
