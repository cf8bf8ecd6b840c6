// SPDX-License-Identifier: BSD-2-Clause
//
// Code with known registers: RAX is 0x0123456789ABCDEF, and register N of the instruction encoding
// has the digit N sixteen times, but for RCX and RSP.

#pragma once

#include <stdbool.h>
#include <stdint.h>

// Counts RCX down from `count`, between the two labels; whether all registers are as they were.
bool known_loop(uint64_t count);
extern const char known_loop_start[], known_loop_end[];

// #UD with an IDT without entries: a triple fault, at the label. RCX and RSP are 0x1111 and 0x4444
// with as many digits as the others.
__attribute__((noreturn)) void known_die(void);
extern const char known_die_here[];
