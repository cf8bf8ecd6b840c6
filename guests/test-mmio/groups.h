// SPDX-License-Identifier: BSD-2-Clause
//
// The groups of assertions of test-mmio.

#pragma once

// Port I/O in all its forms, test-mmio/ports.c.
void test_ports(void);
void test_string_io(void);

// Memory-mapped registers through all sorts of instructions, test-mmio/mmio.c.
void test_unclaimed(void);
void test_rom_area(void);
void test_ioapic(void);
void test_lapic(void);

// All sorts of instructions on the test board's memory, test-mmio/insns.c and vectors.c.
void test_insns(void);
void test_vectors(void);

// What the decoder must not be fooled by, test-mmio/decode.c.
void test_decode(void);
