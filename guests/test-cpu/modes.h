// SPDX-License-Identifier: BSD-2-Clause
//
// Excursions out of 64-bit mode. Addresses below are in low memory, which is free once the loader's
// information has been read.

#pragma once

#define REAL_BASE   0x7000 // the 16-bit code is copied to here
#define REAL_RESULT 0x7E00 // what it leaves: 32-bit words, see enum real_word
#define REAL_STACK  0x7D00
#define REAL_VECTOR 0x60
#define REAL_MAGIC  0x5EA1
#define TEXT_MAGIC  0x07420741

#ifndef __ASSEMBLER__
#include <stdint.h>

enum real_word { REAL_INTERRUPT, REAL_CPUID, REAL_PORT, REAL_CR0, REAL_TEXT_RAM, REAL_WORDS };

// What the paged excursions leave.
struct mode_result {
    uint32_t cpuid; // EAX of leaf 0
    uint32_t port;  // what an unclaimed port read
    uint32_t alias; // mode_word, read through the changed mapping
    uint32_t mmio;  // the version of the I/O APIC
};

extern struct mode_result mode_result;
extern uint32_t mode_word;
extern uint64_t mode_pae_pdpt[4];         // PAE paging; entry 1 is changed to be like entry 0
extern uint32_t mode_pse_directory[1024]; // 32-bit paging with 4 MB pages
extern const uint8_t real_start[], real_end[];

// Leaves 64-bit mode, turns paging off, calls 32-bit code, and comes back. Interrupts must be off:
// the IDT is not one of those modes.
void mode_excursion(const void *code32);

extern const uint8_t mode_pae[], mode_pse[], mode_real[];
#endif
