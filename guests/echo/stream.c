// SPDX-License-Identifier: BSD-2-Clause
//
// The two ends of the echo stream. State: one struct for each end, owned by the main loop, which
// is also the only caller of lwIP: the callbacks run inside netif_poll_all().

#include "guests/echo/stream.h"

// The byte at a position of the endless pattern: a multiplicative hash, so that a lost, doubled or
// moved block of any length shows.
static uint8_t pattern(uint64_t position)
{
    return (uint8_t)((uint32_t)position * 0x9E3779B1u >> 24);
}

// ---- server ----

// Echoes what is held, as far as the send buffer has room.
static void server_flush(struct echo_server *server)
{
    while (server->held != NULL) {
        struct pbuf *first = server->held;
        if (tcp_sndbuf(server->peer) < first->len)
            break;
        if (tcp_write(server->peer, first->payload, first->len, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        tcp_recved(server->peer, first->len);
        server->held = first->next;
        if (server->held != NULL)
            pbuf_ref(server->held);
        pbuf_free(first);
    }
    tcp_output(server->peer);
}

static void server_drop(struct echo_server *server)
{
    if (server->held != NULL)
        pbuf_free(server->held);
    server->held = NULL;
    server->peer = NULL;
}

static err_t server_received(void *arg, struct tcp_pcb *pcb, struct pbuf *data, err_t err)
{
    struct echo_server *server = arg;
    (void)err;
    if (data == NULL) {
        server_drop(server);
        return tcp_close(pcb);
    }
    if (server->held == NULL)
        server->held = data;
    else
        pbuf_cat(server->held, data);
    server_flush(server);
    return ERR_OK;
}

static err_t server_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
    (void)pcb;
    (void)length;
    server_flush(arg);
    return ERR_OK;
}

static void server_failed(void *arg, err_t err)
{
    (void)err;
    server_drop(arg);
}

static err_t server_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct echo_server *server = arg;
    if (err != ERR_OK || pcb == NULL)
        return ERR_VAL;
    if (server->peer != NULL) {
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    server->peer = pcb;
    tcp_arg(pcb, server);
    tcp_recv(pcb, server_received);
    tcp_sent(pcb, server_sent);
    tcp_err(pcb, server_failed);
    tcp_nagle_disable(pcb);
    return ERR_OK;
}

bool echo_server_start(struct echo_server *server, uint16_t port)
{
    ip_addr_t address;
    IP_ADDR4(&address, 127, 0, 0, 1);
    *server = (struct echo_server){0};
    struct tcp_pcb *pcb = tcp_new();
    if (pcb == NULL || tcp_bind(pcb, &address, port) != ERR_OK)
        return false;
    server->listener = tcp_listen(pcb);
    if (server->listener == NULL)
        return false;
    tcp_arg(server->listener, server);
    tcp_accept(server->listener, server_accepted);
    return true;
}

// ---- client ----

static void client_verify(struct echo_client *client, const struct pbuf *data)
{
    for (; data != NULL; data = data->next) {
        const uint8_t *bytes = data->payload;
        for (u16_t i = 0; i < data->len; i++) {
            if (bytes[i] != pattern(client->verified + i)) {
                client->error = "a byte came back wrong";
                return;
            }
        }
        client->verified += data->len;
    }
}

static err_t client_received(void *arg, struct tcp_pcb *pcb, struct pbuf *data, err_t err)
{
    struct echo_client *client = arg;
    (void)err;
    if (data == NULL) {
        client->error = "the server closed the connection";
        client->pcb = NULL;
        return tcp_close(pcb);
    }
    client_verify(client, data);
    tcp_recved(pcb, data->tot_len);
    pbuf_free(data);
    return ERR_OK;
}

static void client_failed(void *arg, err_t err)
{
    struct echo_client *client = arg;
    (void)err;
    client->pcb = NULL;
    client->error = "the connection was reset";
}

static err_t client_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)err;
    tcp_nagle_disable(pcb);
    echo_client_pump(arg);
    return ERR_OK;
}

bool echo_client_start(struct echo_client *client, uint16_t port)
{
    ip_addr_t address;
    IP_ADDR4(&address, 127, 0, 0, 1);
    *client = (struct echo_client){.pcb = tcp_new()};
    if (client->pcb == NULL)
        return false;
    tcp_arg(client->pcb, client);
    tcp_recv(client->pcb, client_received);
    tcp_err(client->pcb, client_failed);
    return tcp_connect(client->pcb, &address, port, client_connected) == ERR_OK;
}

void echo_client_pump(struct echo_client *client)
{
    struct tcp_pcb *pcb = client->pcb;
    if (pcb == NULL || pcb->state != ESTABLISHED)
        return;
    uint8_t chunk[STREAM_CHUNK];
    while (client->sent - client->verified + sizeof(chunk) <= STREAM_WINDOW &&
           tcp_sndbuf(pcb) >= sizeof(chunk)) {
        for (unsigned int i = 0; i < sizeof(chunk); i++)
            chunk[i] = pattern(client->sent + i);
        if (tcp_write(pcb, chunk, sizeof(chunk), TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        client->sent += sizeof(chunk);
    }
    tcp_output(pcb);
}
