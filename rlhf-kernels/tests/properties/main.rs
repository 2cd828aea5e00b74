//! The fast bodies against the plain ones, over shapes, masks and rubbish at hidden places.

mod attention;
mod decode;
mod head;
mod linear;
mod pointwise;
mod remade;
mod sample;
mod update;
