//! Fuzz targets of the core, as plain functions of bytes.
