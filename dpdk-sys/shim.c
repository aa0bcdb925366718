/* Wrappers with plain arguments for DPDK's inline functions, and for those that differ between releases. */
#define _GNU_SOURCE
#include "wrapper.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_epoll.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mempool.h>

#define SAME_OFFSET(field) \
	_Static_assert(offsetof(struct pollux_mbuf, field) == offsetof(struct rte_mbuf, field) && \
	               sizeof(((struct pollux_mbuf *)0)->field) == sizeof(((struct rte_mbuf *)0)->field), \
	               "rte_mbuf." #field " has another offset in this DPDK: correct struct pollux_mbuf in wrapper.h")
SAME_OFFSET(buf_addr);
SAME_OFFSET(data_off);
SAME_OFFSET(refcnt);
SAME_OFFSET(nb_segs);
SAME_OFFSET(port);
SAME_OFFSET(ol_flags);
SAME_OFFSET(packet_type);
SAME_OFFSET(pkt_len);
SAME_OFFSET(data_len);
SAME_OFFSET(vlan_tci);
SAME_OFFSET(vlan_tci_outer);
SAME_OFFSET(buf_len);

/* Flow types for RSS: those that Pollux balances. */
#define RSS_TYPES (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP)

/* EAL pins the calling thread to the first lcore, and threads started later would inherit that and share a core with a
 * worker. Pollux pins its workers itself, so the caller's CPU affinity is restored. */
int pollux_eal_init(int argc, char **argv)
{
	cpu_set_t affinity;
	int known = sched_getaffinity(0, sizeof(affinity), &affinity);
	int used = rte_eal_init(argc, argv);
	if (known == 0)
		sched_setaffinity(0, sizeof(affinity), &affinity);
	return used < 0 ? -rte_errno : 0;
}

int pollux_errno(void) { return rte_errno; }

bool pollux_thread_is_known(void) { return rte_lcore_id() != LCORE_ID_ANY; }

uint64_t pollux_tsc(void) { return rte_rdtsc(); }

uint16_t pollux_headroom(void) { return RTE_PKTMBUF_HEADROOM; }

struct rte_mbuf *pollux_mbuf_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

/* Allocates a buffer from the pool of this one. */
struct rte_mbuf *pollux_mbuf_sibling(struct rte_mbuf *mbuf) { return rte_pktmbuf_alloc(mbuf->pool); }

void pollux_mbuf_free(struct rte_mbuf *mbuf) { rte_pktmbuf_free(mbuf); }

/* Moves a frame in several buffers into its first one. Returns false, and changes nothing, if that has not enough room. */
bool pollux_mbuf_linearize(struct rte_mbuf *mbuf) { return rte_pktmbuf_linearize(mbuf) == 0; }

uint16_t pollux_port_next(uint16_t from)
{
	uint64_t port = rte_eth_find_next_owned_by(from, RTE_ETH_DEV_NO_OWNER);
	return port < RTE_MAX_ETHPORTS ? (uint16_t)port : RTE_MAX_ETHPORTS;
}

uint16_t pollux_no_port(void) { return RTE_MAX_ETHPORTS; }

static int port_name(uint16_t port, struct pollux_port_info *out)
{
	char name[RTE_ETH_NAME_MAX_LEN] = "";
	int error = rte_eth_dev_get_name_by_port(port, name);
	snprintf(out->name, sizeof(out->name), "%s", name);
	return error;
}

/* The largest MTU that rte_eth_dev_configure accepts: drivers such as net_tap state only the longest frame. */
static uint16_t max_mtu(const struct rte_eth_dev_info *info)
{
	uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	if (info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu)
		overhead = info->max_rx_pktlen - info->max_mtu;
	if (info->max_rx_pktlen <= overhead || info->max_rx_pktlen - overhead >= info->max_mtu)
		return info->max_mtu;
	return (uint16_t)(info->max_rx_pktlen - overhead);
}

int pollux_port_info(uint16_t port, struct pollux_port_info *out)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int error = rte_eth_dev_info_get(port, &info);
	if (error == 0)
		error = rte_eth_macaddr_get(port, &mac);
	if (error == 0)
		error = rte_eth_dev_get_mtu(port, &out->mtu);
	if (error == 0)
		error = port_name(port, out);
	if (error != 0)
		return error;
	snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name ? info.driver_name : "");
	memcpy(out->mac, mac.addr_bytes, sizeof(out->mac));
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	out->min_mtu = info.min_mtu;
	out->max_mtu = max_mtu(&info);
	out->min_rx_buffer = info.min_rx_bufsize;
	out->rss = (info.flow_type_rss_offloads & RSS_TYPES) != 0;
	out->reta = info.reta_size;
	out->scatter = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;
	return 0;
}

int pollux_port_stats(uint16_t port, struct pollux_port_stats *out)
{
	struct rte_eth_stats stats;
	int error = rte_eth_stats_get(port, &stats);
	if (error != 0)
		return error;
	*out = (struct pollux_port_stats){
		.ipackets = stats.ipackets, .opackets = stats.opackets, .ibytes = stats.ibytes,
		.obytes = stats.obytes, .imissed = stats.imissed, .ierrors = stats.ierrors,
		.oerrors = stats.oerrors, .rx_nombuf = stats.rx_nombuf,
	};
	return 0;
}

int pollux_port_link(uint16_t port, struct pollux_link *out)
{
	struct rte_eth_link link;
	int error = rte_eth_link_get_nowait(port, &link);
	if (error != 0)
		return error;
	out->up = link.link_status == RTE_ETH_LINK_UP;
	out->speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	return 0;
}

static struct rte_ether_addr address(const uint8_t *mac)
{
	struct rte_ether_addr address;
	memcpy(address.addr_bytes, mac, sizeof(address.addr_bytes));
	return address;
}

/* Sets the first address of the device's filter. */
int pollux_port_set_mac(uint16_t port, const uint8_t *mac)
{
	struct rte_ether_addr first = address(mac);
	return rte_eth_dev_default_mac_addr_set(port, &first);
}

/* Adds an address to the device's filter; one that it has already is fine. */
int pollux_port_add_mac(uint16_t port, const uint8_t *mac)
{
	struct rte_ether_addr another = address(mac);
	return rte_eth_dev_mac_addr_add(port, &another, 0);
}

/* Removes an address from the device's filter; one that it does not have is fine. */
int pollux_port_remove_mac(uint16_t port, const uint8_t *mac)
{
	struct rte_ether_addr another = address(mac);
	return rte_eth_dev_mac_addr_remove(port, &another);
}

/* A virtio device that can filter by VLAN does so even if not asked; others receive the frames of all VLANs. */
static bool filters_vlans(const struct rte_eth_dev_info *info)
{
	return info->driver_name != NULL && strcmp(info->driver_name, "net_virtio") == 0 &&
	       (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_FILTER) != 0;
}

int pollux_port_configure(uint16_t port, const struct pollux_port_conf *conf)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf eth = {0};
	int error = rte_eth_dev_info_get(port, &info);
	if (error != 0)
		return error;
	eth.rxmode.mtu = conf->mtu;
	uint8_t key[UINT8_MAX] = {0};
	if (conf->rss) {
		eth.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		eth.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & RSS_TYPES;
	}
	if (conf->rss && conf->rss_key != NULL) {
		/* The hash input is never longer than 40 bytes cover, so the rest of a longer key does not matter. */
		memcpy(key, conf->rss_key, 40);
		eth.rx_adv_conf.rss_conf.rss_key = key;
		eth.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size > 40 ? info.hash_key_size : 40;
	}
	if (conf->scatter)
		eth.rxmode.offloads = RTE_ETH_RX_OFFLOAD_SCATTER;
	if (filters_vlans(&info)) /* otherwise pollux_port_set_vlan is refused */
		eth.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
	eth.intr_conf.rxq = conf->interrupts;
	return rte_eth_dev_configure(port, conf->queues, conf->queues, &eth);
}

/* Sets entry N of the redirection table to queue (N modulo buckets) modulo queues. `key` is the key that the port was
 * configured with. */
int pollux_port_set_steering(uint16_t port, const uint8_t *key, uint16_t buckets, uint16_t queues)
{
	uint8_t current[UINT8_MAX] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = current, .rss_key_len = sizeof(current)};
	struct rte_eth_dev_info info;
	struct rte_eth_rss_reta_entry64 table[4096 / RTE_ETH_RETA_GROUP_SIZE] = {0};
	int error = rte_eth_dev_info_get(port, &info);
	if (error != 0)
		return error;
	if (info.reta_size == 0 || info.reta_size > 4096 || info.reta_size % buckets != 0)
		return -ENOTSUP;
	for (uint16_t n = 0; n < info.reta_size; n++) {
		table[n / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (n % RTE_ETH_RETA_GROUP_SIZE);
		table[n / RTE_ETH_RETA_GROUP_SIZE].reta[n % RTE_ETH_RETA_GROUP_SIZE] = n % buckets % queues;
	}
	error = rte_eth_dev_rss_reta_update(port, table, info.reta_size);
	if (error != 0)
		return error;
	/* Some drivers use their own key until it is set again; not all of them report it. */
	if (rte_eth_dev_rss_hash_conf_get(port, &conf) != 0 || memcmp(current, key, 40) == 0)
		return 0;
	memset(current, 0, sizeof(current));
	memcpy(current, key, 40);
	conf = (struct rte_eth_rss_conf){
		.rss_key = current, .rss_key_len = info.hash_key_size > 40 ? info.hash_key_size : 40,
		.rss_hf = info.flow_type_rss_offloads & RSS_TYPES,
	};
	return rte_eth_dev_rss_hash_update(port, &conf);
}

int pollux_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, rte_eth_dev_socket_id(port), NULL, pool);
}

/* Lets the started port receive the frames of a VLAN, or no longer. */
int pollux_port_set_vlan(uint16_t port, uint16_t vlan, bool receive)
{
	struct rte_eth_dev_info info;
	int error = rte_eth_dev_info_get(port, &info);
	return error != 0 || !filters_vlans(&info) ? error : rte_eth_dev_vlan_filter(port, vlan, receive);
}

/* With the driver's default thresholds, and the offloads that the port was configured with. */
int pollux_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors)
{
	return rte_eth_tx_queue_setup(port, queue, descriptors, rte_eth_dev_socket_id(port), NULL);
}

/* Adds the queue's interrupt to an epoll set. */
int pollux_rx_interrupt_watch(uint16_t port, uint16_t queue, int epoll)
{
	return rte_eth_dev_rx_intr_ctl_q(port, queue, epoll, RTE_INTR_EVENT_ADD, NULL);
}

/* Discards pending events of a set with one interrupt. rte_epoll_wait also reads the descriptor where the device needs
 * that. */
void pollux_rx_interrupt_discard(int epoll)
{
	struct rte_epoll_event event;
	rte_epoll_wait(epoll, &event, 1, 0);
}

uint16_t pollux_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **out, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, out, count);
}

uint16_t pollux_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **from, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, from, count);
}
