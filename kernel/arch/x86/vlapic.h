// SPDX-License-Identifier: BSD-2-Clause
// The virtual local APIC of one vCPU (manual: "Advanced Programmable Interrupt Controller").
//
// Its registers are in the vCPU's virtual-APIC page, in the architectural layout (one 32-bit
// register every 16 bytes), so the CPU's own APIC virtualisation can work on the same page. State
// belongs to the vCPU: all functions run on its core, with interrupts off, while the vCPU is not in
// the guest; no locks. vlapic_match_dest() only reads, and may be called from other cores.
//
// Time: `now` is the host's TSC, and so is what vlapic_timer_deadline() gives. Guest TSC = host TSC
// + tsc_offset. The timer counts at tsc_hz / ratio before its divider (as CPUID leaf 15H says).
//
// Whatever a call leaves for the caller to do is or-ed into `actions`; the caller does it before
// the next entry and clears the bits.
#pragma once
#include "kernel/lib/types.h"

// Offsets into the page, and in x2APIC mode the MSR for each.
#define X2APIC(offset) (MSR_X2APIC + (offset) / 16)
#define APIC_ID      0x020
#define APIC_VERSION 0x030
#define APIC_TPR     0x080
#define APIC_PPR     0x0a0
#define APIC_EOI     0x0b0
#define APIC_LDR     0x0d0
#define APIC_DFR     0x0e0
#define APIC_SVR     0x0f0
#define APIC_ISR     0x100 // eight registers each
#define APIC_TMR     0x180
#define APIC_IRR     0x200
#define APIC_ESR     0x280
#define APIC_ICR     0x300 // x2APIC: 64 bits, the upper half at 0x304
#define APIC_ICR2    0x310 // xAPIC only
#define APIC_LVT_TIMER   0x320
#define APIC_LVT_THERMAL 0x330
#define APIC_LVT_PERF    0x340
#define APIC_LVT_LINT0   0x350
#define APIC_LVT_LINT1   0x360
#define APIC_LVT_ERROR   0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE  0x3e0
#define APIC_SELF_IPI      0x3f0 // x2APIC only

#define APIC_BASE_ADDRESS 0xfee00000ull // IA32_APIC_BASE: the only address it may have
#define APIC_BASE_BSP     0x100u
#define APIC_BASE_X2APIC  0x400u
#define APIC_BASE_ENABLE  0x800u

// How an interrupt is delivered: of an ICR, an LVT entry, a message's data.
#define ICR_LEVEL 0x8000u // trigger mode
enum { VLAPIC_FIXED, VLAPIC_LOWEST, VLAPIC_NMI = 4, VLAPIC_INIT, VLAPIC_SIPI, VLAPIC_EXTINT,
       VLAPIC_MASKED };

enum vlapic_mode { VLAPIC_DISABLED, VLAPIC_XAPIC, VLAPIC_X2APIC };

// vlapic->actions
#define VLAPIC_ACT_IRR   1u  // IRR, TPR, ISR changed: look at vlapic_highest() again
#define VLAPIC_ACT_TMR   2u  // TMR changed: the EOI-exit bitmap is stale
#define VLAPIC_ACT_TIMER 4u  // arm the host's timer to vlapic_timer_deadline()
#define VLAPIC_ACT_NMI   8u  // an NMI for this vCPU
#define VLAPIC_ACT_EOI   16u // tell the VMM of the EOI of level-triggered `eoi_vector`
#define VLAPIC_ACT_MODE  32u // vlapic_mode() changed: all registers may have; or vlapic_listens()
#define VLAPIC_ACT_INIT  64u // an INIT for this vCPU
#define VLAPIC_ACT_SIPI  128u // a start-up IPI for this vCPU
#define VLAPIC_ACT_IPI   256u // `ipi` is for others of this VM, and if of lowest priority for any

struct vlapic {
    uint32_t *regs;        // the virtual-APIC page, 4 KB, owned by the vCPU
    uint32_t actions;      // VLAPIC_ACT_*
    struct { uint32_t icr, dest; } ipi; // with VLAPIC_ACT_IPI
    uint8_t eoi_vector;    // with VLAPIC_ACT_EOI
    uint8_t timer_shift;   // log2 of the divider in force
    uint8_t accepted;      // the highest vector since its owner last set this to 0
    uint8_t lint0_vector;  // LINT0's remote IRR: the vector whose EOI is waited for, or 0
    uint16_t status;       // the highest of ISR << 8, and of IRR, as "guest interrupt status"
    uint32_t id;           // APIC id; below 255
    uint32_t ratio;        // TSC ticks per tick of the timer's crystal, at least 1
    uint32_t lvt_timer;    // LVT timer entry in force (vlapic_written(): the page's is newer)
    uint32_t errors;       // collected since the last write of ESR
    uint64_t apic_base;    // IA32_APIC_BASE
    uint64_t tsc_deadline; // IA32_TSC_DEADLINE, guest TSC; 0: not armed
    uint64_t timer_next;   // count-down modes: host TSC when it reaches 0; 0: stopped
    uint64_t timer_period; // TSC ticks of the whole count
    uint64_t timer_pause;  // no interrupt before this; only with:
    uint64_t catch_up;     // TSC ticks for which missed periods are kept; 0: they become one
    // Added (mod 2^64) to the host's TSC. Who changes it sets VLAPIC_ACT_TIMER, for armed TSC
    // deadlines stay where they are in guest time.
    uint64_t tsc_offset;
};

// `regs`: 4 KB, 4 KB-aligned. Leaves the state of vlapic_reset(). bsp: IA32_APIC_BASE's BSP bit.
void vlapic_init(struct vlapic *v, uint32_t *regs, uint32_t id, bool bsp, uint32_t ratio,
                 uint64_t tsc_offset);
// "Local APIC State After It Receives an INIT Reset": its mode stays.
void vlapic_init_ipi(struct vlapic *v);
// What a PC's BIOS leaves: xAPIC, SVR 0x10F, LINT0 ExtINT and LINT1 NMI, both unmasked.
void vlapic_reset(struct vlapic *v);
static inline enum vlapic_mode vlapic_mode(const struct vlapic *v)
{
    if (!(v->apic_base & APIC_BASE_ENABLE))
        return VLAPIC_DISABLED;
    return v->apic_base & APIC_BASE_X2APIC ? VLAPIC_X2APIC : VLAPIC_XAPIC;
}

// Software has it enabled (SVR): else it takes no fixed interrupt, not from itself either.
static inline bool vlapic_listens(const struct vlapic *v)
{
    return (v->apic_base & APIC_BASE_ENABLE) && (v->regs[APIC_SVR / 4] & 0x100);
}

// MMIO accesses of the xAPIC page. Any offset is safe; one that is no register reads 0 and sets
// ESR's illegal-address bit. Outside xAPIC mode reads give all ones and writes do nothing.
uint32_t vlapic_read(struct vlapic *v, uint32_t offset, uint64_t now);
void vlapic_write(struct vlapic *v, uint32_t offset, uint32_t value, uint64_t now);
// The CPU has stored the guest's value in the page already (an APIC-write exit); offset as the CPU
// gives it. Puts right what the register may not hold, and does what the write does.
void vlapic_written(struct vlapic *v, uint32_t offset, uint64_t now);
// IA32_APIC_BASE, IA32_TSC_DEADLINE, 0x800-0x8FF. False: #GP, nothing changed.
bool vlapic_rdmsr(struct vlapic *v, uint32_t index, uint64_t now, uint64_t *value) MUST_CHECK;
bool vlapic_wrmsr(struct vlapic *v, uint32_t index, uint64_t value, uint64_t now) MUST_CHECK;

// RDMSR of this register in x2APIC mode gives what the page holds.
bool vlapic_page_has(uint32_t offset);

// Takes a fixed interrupt into IRR (and TMR). False: refused, the APIC is disabled or vector < 16
// (then ESR records it).
bool vlapic_accept(struct vlapic *v, uint8_t vector, bool level);
// In IRR. Other cores may look: what they see may be over, or have just begun.
static inline bool vlapic_requested(const struct vlapic *v, uint8_t vector)
{
    return v->regs[(APIC_IRR + vector / 32 * 16) / 4] >> vector % 32 & 1;
}
// Of two that are meant, by lowest priority: does a get it? Other cores may look.
bool vlapic_bids_lower(const struct vlapic *a, const struct vlapic *b);
uint8_t vlapic_ppr(struct vlapic *v);        // also puts it into the page
// The vector that the CPU should take now, or -1; sets `status`, too.
int vlapic_highest(struct vlapic *v);
// What vlapic_highest() gives, from a `status` that is right.
static inline int vlapic_of_status(const struct vlapic *v)
{
    uint32_t status = v->status, tpr = v->regs[APIC_TPR / 4];
    bool taken = (status & 0xf0) > (status >> 8 & 0xf0) && (status & 0xf0) > (tpr & 0xf0);
    return taken ? (uint8_t)status : -1;
}
void vlapic_inject(struct vlapic *v, uint8_t vector); // it is delivered: IRR to ISR
// EOI without virtual-interrupt delivery. (vlapic_write() and vlapic_wrmsr() of EOI call it.)
void vlapic_eoi(struct vlapic *v);
void vlapic_eoi_exit_bitmap(const struct vlapic *v, uint64_t bitmap[4]);
// For a TPR shadow without virtual-interrupt delivery: exit when TPR's class falls below this;
// 0: never. Not above the present TPR's class, as VM entry wants it.
uint8_t vlapic_tpr_threshold(const struct vlapic *v);

// How LINT0 delivers what comes on the INTR line (PIC): that pin is the CPU's INTR when the APIC is
// off. VLAPIC_MASKED: not at all.
static inline uint32_t vlapic_lint0_delivery(const struct vlapic *v)
{
    uint32_t lvt = v->regs[APIC_LVT_LINT0 / 4];
    if (!(v->apic_base & APIC_BASE_ENABLE))
        return VLAPIC_EXTINT;
    return lvt & 1u << 16 ? VLAPIC_MASKED : lvt >> 8 & 7;
}
// The line, where it is not ExtINT: whether it is high, and has risen since this was called last.
// To be called when it has, and while it is high also after an EOI or a change of LINT0.
void vlapic_lint0(struct vlapic *v, bool high, bool rose);
// The EOI of a level-triggered vector. vlapic_eoi() calls it; with virtual-interrupt delivery its
// owner does.
void vlapic_level_ended(struct vlapic *v, uint8_t vector);

// Host TSC at which vlapic_timer_fired() wants to be called, or 0. A masked timer needs no call.
uint64_t vlapic_timer_deadline(const struct vlapic *v);
// Accepts the timer's interrupt if it is due. Late periods become one, or with `catch_up` one after
// the other: each when the last one was taken, and a sixteenth of a period behind it. Safe to call
// at any time.
void vlapic_timer_fired(struct vlapic *v, uint64_t now);

// Is this APIC addressed? msi: an 8-bit destination from the board, where 0xFF is everybody in both
// modes; else as in this APIC's own ICR (x2APIC: 32 bits).
bool vlapic_match_dest(const struct vlapic *v, uint32_t dest, bool logical, bool msi);
