// SPDX-License-Identifier: BSD-2-Clause
//
// A byte stream to and from the console, as the UART and the debug port see it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct stream_ops {
    // Take one byte. False if there is no room: the guest's access is then held and repeated.
    bool (*put)(void *ctx, uint8_t byte);
    // The next byte of input (0 to 255), or -1 if there is none now. NULL: output only.
    int (*get)(void *ctx);
};

struct stream {
    const struct stream_ops *ops;
    void *ctx;
};
