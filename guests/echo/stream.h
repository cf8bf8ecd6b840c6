// SPDX-License-Identifier: BSD-2-Clause
//
// A TCP echo server, and a client that keeps bytes under way to it, compares what comes back with
// what went out, and counts. Both on lwIP's raw API: every call is made from the main loop.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lwip/tcp.h"

#define STREAM_CHUNK  1460        // bytes that are written at once
#define STREAM_WINDOW 16384u // bytes under way at most

struct echo_server {
    struct tcp_pcb *listener;
    struct tcp_pcb *peer; // the one connection, or NULL
    struct pbuf *held;    // received, and not yet taken by tcp_write()
};

struct echo_client {
    struct tcp_pcb *pcb;
    uint64_t sent;     // bytes of the pattern that lwIP has taken
    uint64_t verified; // bytes that have come back right
    const char *error; // why the stream ended, or NULL
};

// Listens on 127.0.0.1. False if lwIP has no memory for it.
bool echo_server_start(struct echo_server *server, uint16_t port);

// Begins to connect. False if lwIP has no memory for it.
bool echo_client_start(struct echo_client *client, uint16_t port);

// Sends as much as the window allows; does nothing before the connection stands.
void echo_client_pump(struct echo_client *client);
