// SPDX-License-Identifier: BSD-2-Clause
// A vCPU for the tests of both vendors' inject.c, and what the kernel's other files do there. To be
// included behind the vendor's header.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define EVENT(type, vector) (EVENT_VALID | (type) << 8 | (vector))

static struct vcpu vcpu;
static struct vcpu_page page;
static uint32_t apic_regs[1024] __attribute__((aligned(4096)));
static jmp_buf out;
enum left { ENTERED, TO_VMM, HALTED };

static int64_t kind; // with which it was
void vcpu_return(struct vcpu *v, int64_t k, uint64_t word)
{
    (void)v;
    (void)word;
    kind = k;
    longjmp(out, TO_VMM);
}
void vcpu_halt(struct vcpu *v) { (void)v; longjmp(out, HALTED); }
void vcpu_send_ipi(struct vcpu *v) { (void)v; }
uint64_t vcpu_take_event(struct vcpu *v) { (void)v; return 0; }
void panic(const char *format, ...) { fail_msg("%s", format); abort(); }

static void make_vcpu(void)
{
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&page, 0, sizeof(page));
    vcpu.page = &page;
    vcpu.arch.gpr = page.gpr;
    vlapic_init(&vcpu.arch.vlapic, apic_regs, 0, true, 1, 0);
}
