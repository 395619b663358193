//! Thin system seams: own addresses and routes, descriptor limits, neighbour table.
