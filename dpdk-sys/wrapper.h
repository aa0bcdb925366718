/* The C interface for Rust: the prototypes of our shim, plus the DPDK functions that build.rs allows.
 *
 * DPDK's structs appear in prototypes only as opaque pointers, so that changes of names and layouts between releases do
 * not affect Rust. Functions return 0 or a negative errno, as DPDK's do.
 */
#ifndef POLLUX_WRAPPER_H
#define POLLUX_WRAPPER_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_version.h>

/* The first cache line of an mbuf, which Rust reads for every packet, where a call would be too slow. These fields are
 * part of DPDK's ABI and have not moved since 17.11; shim.c asserts it. */
struct pollux_mbuf {
	uint8_t *buf_addr;
	uint64_t reserved_iova;
	uint16_t data_off;
	uint16_t refcnt;
	uint16_t nb_segs;
	uint16_t port;
	uint64_t ol_flags;
	uint32_t packet_type;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t vlan_tci;
	uint32_t hash[2];
	uint16_t vlan_tci_outer;
	uint16_t buf_len;
};

/* Properties of a device. Strings end in NUL. */
struct pollux_port_info {
	char name[64];
	char driver[64];
	uint8_t mac[6];
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t mtu;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint32_t min_rx_buffer;
	bool rss;       /* supports RSS of IP, TCP, UDP or SCTP */
	uint16_t reta;  /* entries of the redirection table; 0 if there is none */
	bool scatter; /* can receive a frame into several buffers */
};

struct pollux_port_stats {
	uint64_t ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf;
};

struct pollux_link {
	uint32_t speed_mbps; /* 0 if unknown */
	bool up;
};

struct pollux_port_conf {
	uint16_t queues; /* receive queues, and transmit queues */
	uint16_t mtu;
	bool rss;
	const uint8_t *rss_key; /* 40 bytes, padded with zeros for devices with longer keys; NULL for the device's own */
	bool interrupts; /* receive interrupts */
	bool scatter;    /* receive a frame that is longer than a buffer into several */
};

/* EAL */
int pollux_eal_init(int argc, char **argv);
int pollux_errno(void);
bool pollux_thread_is_known(void);
uint64_t pollux_tsc(void);

/* buffers */
uint16_t pollux_headroom(void);
struct rte_mbuf *pollux_mbuf_alloc(struct rte_mempool *pool);
struct rte_mbuf *pollux_mbuf_sibling(struct rte_mbuf *mbuf);
void pollux_mbuf_free(struct rte_mbuf *mbuf);
bool pollux_mbuf_linearize(struct rte_mbuf *mbuf);

/* ports */
uint16_t pollux_port_next(uint16_t from);
uint16_t pollux_no_port(void);
int pollux_port_info(uint16_t port, struct pollux_port_info *out);
int pollux_port_stats(uint16_t port, struct pollux_port_stats *out);
int pollux_port_link(uint16_t port, struct pollux_link *out);
int pollux_port_set_mac(uint16_t port, const uint8_t *mac);
int pollux_port_add_mac(uint16_t port, const uint8_t *mac);
int pollux_port_remove_mac(uint16_t port, const uint8_t *mac);
int pollux_port_configure(uint16_t port, const struct pollux_port_conf *conf);
int pollux_port_set_vlan(uint16_t port, uint16_t vlan, bool receive);
int pollux_port_set_steering(uint16_t port, const uint8_t *key, uint16_t buckets, uint16_t queues);
int pollux_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool);
int pollux_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors);

/* interrupts of receive queues */
int pollux_rx_interrupt_watch(uint16_t port, uint16_t queue, int epoll);
void pollux_rx_interrupt_discard(int epoll);

/* bursts */
uint16_t pollux_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **out, uint16_t count);
uint16_t pollux_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **from, uint16_t count);

#endif
