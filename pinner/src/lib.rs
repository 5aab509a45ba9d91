//! pinner
