// SPDX-License-Identifier: BSD-2-Clause
// Where in a program its system calls are (kernel/abi/boot.h): their addresses are in a table, and
// where that is, and this mark, stands right in front of the program's entry point (crt0.S).
#pragma once
#include <stdint.h>

#define CALL_MAGIC 0x736c6c6163736573ull
struct call_table {
    uint64_t magic;
    uint64_t from, to; // addresses; in there one of 64 bits for each call
};
