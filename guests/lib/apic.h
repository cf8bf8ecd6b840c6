// SPDX-License-Identifier: BSD-2-Clause
//
// The local APIC of the processor that calls, in xAPIC (MMIO) or x2APIC (MSR) mode. Registers are
// named by their MMIO offset; the MSR is 0x800 + offset / 16. Sections "Local APIC" and "Extended
// XAPIC (x2APIC)" of the manual's chapter on the APIC.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define APIC_BASE_DEFAULT  0xFEE00000u
#define APIC_BASE_BSP      (1u << 8)
#define APIC_BASE_X2       (1u << 10)
#define APIC_BASE_ENABLE   (1u << 11)
#define X2APIC_MSR(offset) (0x800u + (offset) / 16)

#define APIC_ID            0x020u
#define APIC_VERSION       0x030u
#define APIC_TPR           0x080u
#define APIC_PPR           0x0A0u
#define APIC_EOI           0x0B0u
#define APIC_LDR           0x0D0u
#define APIC_DFR           0x0E0u
#define APIC_SVR           0x0F0u
#define APIC_ISR(i)        (0x100u + 16 * (i))
#define APIC_TMR(i)        (0x180u + 16 * (i))
#define APIC_IRR(i)        (0x200u + 16 * (i))
#define APIC_ESR           0x280u
#define APIC_ICR           0x300u
#define APIC_ICR_HIGH      0x310u
#define APIC_LVT_TIMER     0x320u
#define APIC_LVT_LINT0     0x350u
#define APIC_LVT_LINT1     0x360u
#define APIC_LVT_ERROR     0x370u
#define APIC_TIMER_INITIAL 0x380u
#define APIC_TIMER_COUNT   0x390u
#define APIC_TIMER_DIVIDE  0x3E0u
#define APIC_SELF_IPI      0x3F0u

#define APIC_SVR_ENABLE           (1u << 8)
#define APIC_SVR_NO_EOI_BROADCAST (1u << 12)
#define APIC_VERSION_NO_BROADCAST (1u << 24) // such a bit is in SVR
#define APIC_LVT_MASKED           (1u << 16)
#define APIC_LVT_PENDING          (1u << 12)
#define APIC_LVT_REMOTE_IRR       (1u << 14)
#define APIC_LVT_LEVEL            (1u << 15)
#define APIC_LVT_EXTINT           0x700u
#define APIC_LVT_NMI              0x400u
#define APIC_TIMER_ONE_SHOT       (0u << 17)
#define APIC_TIMER_PERIODIC       (1u << 17)
#define APIC_TIMER_DEADLINE       (2u << 17)
#define APIC_DIVIDE_BY_1          0x0Bu
#define APIC_DIVIDE_BY_16         0x03u
#define APIC_ICR_LOWEST           (1u << 8)
#define APIC_ICR_NMI              (4u << 8)
#define APIC_ICR_INIT             (5u << 8)
#define APIC_ICR_STARTUP          (6u << 8)
#define APIC_ICR_LOGICAL          (1u << 11)
#define APIC_ICR_PENDING          (1u << 12)
#define APIC_ICR_ASSERT           (1u << 14)
#define APIC_ICR_LEVEL            (1u << 15)
#define APIC_ICR_SELF             (1u << 18)
#define APIC_ICR_ALL              (2u << 18)
#define APIC_ICR_ALL_BUT_SELF     (3u << 18)
#define APIC_ESR_ILLEGAL_SEND     (1u << 5)
#define APIC_ESR_ILLEGAL_RECEIVE  (1u << 6)
#define APIC_ESR_ILLEGAL_REGISTER (1u << 7)

enum apic_mode { APIC_MODE_DISABLED, APIC_MODE_XAPIC, APIC_MODE_X2APIC };

// True if CPUID shows x2APIC.
bool apic_has_x2apic(void);

// The mode that APIC_BASE is in.
enum apic_mode apic_mode(void);

// Goes to a mode, through "disabled" where the manual wants it, and enables the APIC by SVR with
// VEC_SPURIOUS. Going back from x2APIC loses the registers. Interrupts must be off. The functions
// below take all processors to be in the mode that was set last.
void apic_enable(enum apic_mode mode);

uint32_t apic_read(uint32_t offset);
void apic_write(uint32_t offset, uint32_t value);

// Sends an IPI: `low` as ICR bits 31:0, to a physical APIC id.
void apic_send(uint32_t low, uint32_t apic_id);
void apic_self_ipi(uint8_t vector);
void apic_eoi(void);
uint32_t apic_id(void);

// One bit of ISR, TMR or IRR: pass APIC_ISR(0), APIC_TMR(0) or APIC_IRR(0).
bool apic_bit(uint32_t first_register, uint8_t vector);
