// SPDX-License-Identifier: BSD-2-Clause
//
// What an INIT and a start-up IPI leave in a vCPU's registers.
#include "vmm/cpu/reset.h"

#include <string.h>

#define CR0_ET 0x10ull

#define CODE { .selector = 0xF000, .base = 0xFFFF0000, .limit = 0xFFFF, .access = 0x9B }
#define DATA { .limit = 0xFFFF, .access = 0x93 }

void reset_state(struct vcpu_page *page, uint32_t signature, uint64_t cr0)
{
    page->sregs = (struct vcpu_sregs){
        .rip = 0xFFF0, .rflags = 2, .cr0 = (cr0 & RESET_CR0) | CR0_ET, .dr7 = 0x400,
        .cs = CODE, .ss = DATA, .ds = DATA, .es = DATA, .fs = DATA, .gs = DATA,
        .ldtr = { .limit = 0xFFFF, .access = 0x82 }, .tr = { .limit = 0xFFFF, .access = 0x8B },
        .gdtr_limit = 0xFFFF, .idtr_limit = 0xFFFF,
    };
    memset(page->gpr, 0, sizeof(page->gpr));
    page->gpr[GPR_RDX] = signature;
}

void reset_start(struct vcpu_page *page, uint8_t vector)
{
    page->sregs.rip = 0;
    page->sregs.cs.selector = (uint16_t)(vector << 8);
    page->sregs.cs.base = (uint64_t)vector << 12;
}
