// SPDX-License-Identifier: BSD-2-Clause
//
// The board as ACPI's namespace shows it; vmm/board/machine.c wires what is described here.
// Compiled by iasl when the VMM is built; the table is the same for every VM.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "BULKHD", "BULKHEAD", 1)
{
    // Which interrupt controllers the operating system uses: 0 PIC, 1 IOAPIC.
    Name (PICM, 0)
    Method (_PIC, 1, NotSerialized)
    {
        PICM = Arg0
    }

    // Power-off: SLP_TYPa as in vmm/dev/acpi_pm.h.
    Name (_S5, Package (4) { 0, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0000, 0x0CF7, 0x0000, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300)
                // The 3 to 4 GB gap below the interrupt controllers.
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0x00000000, 0xC0000000, 0xFEBFFFFF, 0x00000000, 0x3EC00000)
            })

            // Pins of slot 1 to 4, level triggered: GSI 16 to 19, or IRQ 10 and 11 of the PIC.
            Name (PRTA, Package ()
            {
                Package (4) { 0x0001FFFF, 0, 0, 16 }, Package (4) { 0x0001FFFF, 1, 0, 17 },
                Package (4) { 0x0001FFFF, 2, 0, 18 }, Package (4) { 0x0001FFFF, 3, 0, 19 },
                Package (4) { 0x0002FFFF, 0, 0, 17 }, Package (4) { 0x0002FFFF, 1, 0, 18 },
                Package (4) { 0x0002FFFF, 2, 0, 19 }, Package (4) { 0x0002FFFF, 3, 0, 16 },
                Package (4) { 0x0003FFFF, 0, 0, 18 }, Package (4) { 0x0003FFFF, 1, 0, 19 },
                Package (4) { 0x0003FFFF, 2, 0, 16 }, Package (4) { 0x0003FFFF, 3, 0, 17 },
                Package (4) { 0x0004FFFF, 0, 0, 19 }, Package (4) { 0x0004FFFF, 1, 0, 16 },
                Package (4) { 0x0004FFFF, 2, 0, 17 }, Package (4) { 0x0004FFFF, 3, 0, 18 }
            })
            Name (PRTP, Package ()
            {
                Package (4) { 0x0001FFFF, 0, 0, 10 }, Package (4) { 0x0001FFFF, 1, 0, 11 },
                Package (4) { 0x0001FFFF, 2, 0, 10 }, Package (4) { 0x0001FFFF, 3, 0, 11 },
                Package (4) { 0x0002FFFF, 0, 0, 11 }, Package (4) { 0x0002FFFF, 1, 0, 10 },
                Package (4) { 0x0002FFFF, 2, 0, 11 }, Package (4) { 0x0002FFFF, 3, 0, 10 },
                Package (4) { 0x0003FFFF, 0, 0, 10 }, Package (4) { 0x0003FFFF, 1, 0, 11 },
                Package (4) { 0x0003FFFF, 2, 0, 10 }, Package (4) { 0x0003FFFF, 3, 0, 11 },
                Package (4) { 0x0004FFFF, 0, 0, 11 }, Package (4) { 0x0004FFFF, 1, 0, 10 },
                Package (4) { 0x0004FFFF, 2, 0, 11 }, Package (4) { 0x0004FFFF, 3, 0, 10 }
            })
            Method (_PRT, 0, NotSerialized)
            {
                If (PICM)
                {
                    Return (PRTA)
                }
                Return (PRTP)
            }
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x08, 0x08)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
            })
        }

        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0020, 0x0020, 0x01, 0x02)
                IO (Decode16, 0x00A0, 0x00A0, 0x01, 0x02)
                IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
                IRQNoFlags () { 2 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
                IRQNoFlags () { 0 }
            })
        }

        // The port by which the operating system says that it has panicked.
        Device (PVPN)
        {
            Name (_HID, "QEMU0001")
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0505, 0x0505, 0x01, 0x01)
            })
        }

        // What belongs to the board and to no other device.
        Device (MISC)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
                IO (Decode16, 0x0080, 0x0080, 0x01, 0x01)
                IO (Decode16, 0x0092, 0x0092, 0x01, 0x01)
                IO (Decode16, 0x00E9, 0x00E9, 0x01, 0x01)
                IO (Decode16, 0x0600, 0x0600, 0x01, 0x10)
                Memory32Fixed (ReadWrite, 0xFEC00000, 0x00001000)
                Memory32Fixed (ReadWrite, 0xFEE00000, 0x00001000)
            })
        }
    }
}
