// SPDX-License-Identifier: BSD-2-Clause
// lwIP's configuration: the raw API with the caller's own main loop, which polls the interfaces
// (netif_poll for loopback) and calls sys_check_timeouts(). Sizes are bytes unless said otherwise.
#pragma once

// One thread, no operating system underneath.
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0

// Protocols.
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ETHERNET 1
#define LWIP_ARP 1
#define LWIP_ICMP 1
#define LWIP_ICMP6 1
#define LWIP_RAW 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_DHCP 1
#define LWIP_DNS 1
#define LWIP_IPV6_AUTOCONFIG 1
// Fragments keep their list pointers inside the IPv6 header, which is too small for 8-byte ones.
#define IPV6_FRAG_COPYHEADER 1

// The loopback interface, 127.0.0.1 and ::1. The limit is in pbufs: it bounds what one side may
// send before the main loop has delivered it.
#define LWIP_HAVE_LOOPIF 1
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_LOOPBACK_MAX_PBUFS 128

// Interfaces tell their owner of changes.
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_NETIF_LINK_CALLBACK 1
#define LWIP_NETIF_HOSTNAME 1

// Memory: fixed pools and a private heap, so that the stack's appetite is bounded.
#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 0
#define MEM_SIZE (512 * 1024)
#define MEMP_NUM_PBUF 128
#define MEMP_NUM_TCP_PCB 32
#define MEMP_NUM_TCP_SEG 256
#define MEMP_NUM_SYS_TIMEOUT (LWIP_NUM_SYS_TIMEOUT_INTERNAL + 4)
#define PBUF_POOL_SIZE 256
#define PBUF_POOL_BUFSIZE 1536

// TCP.
#define TCP_MSS 1460
#define TCP_WND (32 * TCP_MSS)
#define TCP_SND_BUF (32 * TCP_MSS)
#define TCP_SND_QUEUELEN 128
#define LWIP_CHKSUM_ALGORITHM 3

#define LWIP_STATS 1
#define LWIP_STATS_DISPLAY 0
