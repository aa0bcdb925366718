//! One core of a layer-4 load balancer, as a library.
