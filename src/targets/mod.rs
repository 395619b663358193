//! Strings become a lazy, permuted, excluded space of endpoints; names by the resolver; guards.
